"""Reads docstrings as they are written here, for mkdocstrings: an extension of Griffe.

An `Example:` is code, as an `Examples:` is to Griffe; `Shapes:`, `Cost per step:` and `Source:`
of a cell are bold, and a preprint is a link. An Equinox module without an `__init__` of its own
is a dataclass, so its fields are its arguments.
"""

import re

import griffe

WORDS = re.compile(r"(?<![`\w])(Shapes|Cost per step|Source|Differs):(?= )")
LINE = re.compile(r"\n(?=\*\*(?:Shapes|Cost per step|Source):)")
PREPRINT = re.compile(r"(?<![\w/\[])arXiv:(\d{4}\.\d{4,5})")
INDENTED = re.compile(r"^(?: {4,}|>>>)")


class Docstrings(griffe.Extension):
    """What differs between docstrings of seqmem and those that Griffe expects."""

    def on_instance(self, *, obj: griffe.Object, **kwargs) -> None:
        if obj.docstring is not None:
            obj.docstring.value = readable(obj.docstring.value)

    def on_package(self, *, pkg: griffe.Module, **kwargs) -> None:
        for module in modules_of(pkg):
            for cls in module.members.values():
                if not cls.is_alias and cls.is_class and is_equinox_dataclass(cls):
                    decorator = griffe.ExprName("dataclasses.dataclass")
                    cls.decorators.append(griffe.Decorator(decorator, lineno=None, endlineno=None))
                    for field in cls.members.values():
                        rename_field(field)


def readable(docstring: str) -> str:
    """The docstring in the form that Griffe's parser and Markdown expect."""
    docstring = re.sub(r"^Example:$", "Examples:", docstring, flags=re.M)
    lines = [
        line
        if INDENTED.match(line)
        else PREPRINT.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", WORDS.sub(r"**\1:**", line))
        for line in docstring.split("\n")
    ]
    return LINE.sub("  \n", "\n".join(lines))


def modules_of(module: griffe.Module):
    yield module
    for member in module.members.values():
        if not member.is_alias and member.is_module:
            yield from modules_of(member)


def is_equinox_dataclass(cls: griffe.Class) -> bool:
    """A concrete Equinox module without an `__init__`, its own or of a base."""
    classes = [cls, *cls.mro()]
    is_module = any(
        str(base).endswith(("eqx.Module", "equinox.Module")) for base in all_bases(classes)
    )
    has_init = any("__init__" in base.members for base in classes)
    return is_module and not has_init


def all_bases(classes: list[griffe.Class]):
    for cls in classes:
        yield from cls.bases


def rename_field(field: griffe.Object) -> None:
    """`eqx.field(...)` is `dataclasses.field(...)` to Griffe."""
    value = getattr(field, "value", None) if field.is_attribute else None
    if isinstance(value, griffe.ExprCall) and value.canonical_path in (
        "eqx.field",
        "equinox.field",
    ):
        value.function = griffe.ExprName("dataclasses.field")
