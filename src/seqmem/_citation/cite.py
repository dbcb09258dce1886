"""`cite`: the papers behind a model, in BibTeX."""

import dataclasses
import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .bibliography import Entry, entries_by_name, entries_of, has_source

NAME = re.compile(r"`([\w.]+)(?:\([^`]*\))?`")


def cite(*parts: Any) -> str:
    """BibTeX of what a model uses: an entry for seqmem, and one for each paper behind its cells,
    layers, blocks, wrappers and structured matrices.

    The papers are those that the docstrings name as their source. Whatever a model does not hold is
    given in addition: the method that ran it, a task, an instrument.

    Args:
        parts: models, methods, and any other objects, classes and functions of seqmem, or trees of
            them. A class of your own is cited by its docstring, if that says "Source: ...,
            arXiv:2405.04517" or "Source: ..., doi:10.1038/nature20101".

    Returns:
        The entries, that of seqmem first, the others sorted by their keys, each once.

    Example:
        >>> import jax, seqmem
        >>> model = seqmem.MinGRU(3, 5, key=jax.random.key(0))
        >>> text = seqmem.cite(model, seqmem.Newton())
        >>> [line for line in text.splitlines() if line.startswith("@")]
        ['@software{seqmem,', '@misc{feng2024were,', '@misc{lim2023parallelizing,']
    """
    entries: set[Entry] = set()
    for named in dict.fromkeys(_classes_and_functions(parts, set())):
        for doc in _docstrings_with_source(named):
            entries.update(entries_of(doc))
    own = entries_by_name()["seqmem"].text
    version = sys.modules[__name__.partition(".")[0]].__version__
    own = own.removesuffix("}") + f"  version = {{{version}}},\n}}"
    return "\n\n".join([own, *(entry.text for entry in sorted(entries))])


def _classes_and_functions(node: Any, visited: set[int]) -> Iterator[Any]:
    """The functions in a tree, and the classes in it and of it: also of its static parts."""
    if id(node) in visited:
        return
    visited.add(id(node))
    if isinstance(node, type) or inspect.isroutine(node) or hasattr(node, "__wrapped__"):
        yield node
        return
    if isinstance(node, Mapping):
        parts = list(node.values())
    elif isinstance(node, tuple | list | set | frozenset):
        parts = list(node)
    elif isinstance(node, functools.partial):
        parts = [node.func, *node.args, *node.keywords.values()]
    elif dataclasses.is_dataclass(node):
        parts = [getattr(node, field.name, None) for field in dataclasses.fields(node)]
    else:
        parts = []
    yield type(node)
    for part in parts:
        yield from _classes_and_functions(part, visited)


def _docstrings_with_source(named: Any) -> list[str]:
    """The docstrings that say where a class or function comes from.

    A class without a source has that of the public function that makes it: the one which its
    docstring names first, as the layers of a block do, or its `name`, as that of a wrapper.
    """
    if not isinstance(named, type):
        doc = named.__doc__ or ""
        return [doc] if has_source(doc) else []
    docs = [vars(cls).get("__doc__") or "" for cls in named.__mro__]
    with_source = [doc for doc in docs if has_source(doc)]
    if with_source:
        return with_source
    names = [str(getattr(named, "name", "")), *NAME.findall(named.__doc__ or "")]
    makers = (_function_near(named, name.rpartition(".")[2]) for name in names)
    return [maker.__doc__ or "" for maker in makers if has_source(maker.__doc__)][:1]


def _function_near(cls: type, name: str) -> Callable | None:
    """The function of that name in the module of a class, or in its package."""
    for module in (cls.__module__, cls.__module__.rpartition(".")[0]):
        function = getattr(sys.modules.get(module), name, None) if name else None
        if inspect.isroutine(function):
            return function
    return None
