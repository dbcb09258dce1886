"""The public names: what `help` says of them, and what is close to one that does not exist."""

import difflib
import inspect
import pathlib
import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from .cell import AbstractCell
from .method import AbstractMethod

WIDTH = 92


def overview(namespace: Mapping[str, Any]) -> str:
    """The names of a module by kind: the cells of each family, the methods, and others."""
    kinds: dict[str, list[str]] = {}
    public = [name for name in namespace if not name.startswith("_")]
    for name in sorted(public, key=str.lower):
        kinds.setdefault(_kind(name, namespace[name]), []).append(name)
    cells = [kind for kind in kinds if kind.endswith(" cells")]
    order = [*sorted(cells), "methods", "functions", "wrappers", "to write your own", "records"]
    return "\n".join(_line(kind, kinds[kind]) for kind in order if kind in kinds)


def _kind(name: str, value: Any) -> str:
    if not inspect.isclass(value):
        is_wrapper = name.startswith("with_")
        return "wrappers" if is_wrapper else "functions" if callable(value) else "to write your own"
    if name.startswith("Abstract"):
        return "to write your own"
    if issubclass(value, AbstractCell):
        return f"{value.family.name} cells"
    return "methods" if issubclass(value, AbstractMethod) else "records"


def _line(kind: str, names: list[str]) -> str:
    first = f"    {kind:22}"
    return textwrap.fill(" ".join(names), WIDTH, initial_indent=first, subsequent_indent=" " * 26)


def unknown_name(
    package: str, folder: pathlib.Path, name: str, names: Iterable[str]
) -> AttributeError:
    """The error for a name that a package does not have, with the one that it has.

    The names of its sub-packages are read from their files, so that none is imported.
    """
    own = {_plain(known): f"{package}.{known}" for known in names}
    others = {
        _plain(known): f"{package}.{path.parent.name}.{known}"
        for path in folder.glob("*/__init__.py")
        for known in re.findall(r"\b(\w+) as \1\b", path.read_text(encoding="utf-8"))
    }
    close = [
        public[match]
        for public in (own, others)
        for match in difflib.get_close_matches(_plain(name), public, 1, cutoff=0.75)
    ]
    remedy = f"write {close[0]}." if close else f"see dir({package})."
    return AttributeError(
        f"{package} has no {name!r}.\n  Expected: a name in dir({package}).\n  What to do: {remedy}"
    )


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
