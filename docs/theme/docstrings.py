"""Reads docstrings as they are written here, for mkdocstrings: an extension of Griffe.

An `Example:` is code, as an `Examples:` is to Griffe. `Shapes:`, `Cost per step:` and `Source:` of
a cell are bold; a preprint is a link, and so is a public name such as `seqmem.unroll`. Equinox
modules and named tuples without an `__init__` of their own are dataclasses: their fields are their
arguments.
"""

import dataclasses
import re
from collections.abc import Iterator

import griffe

TITLES = {"Args:": "Args: Arguments:", "Example:": "Examples: Example:"}
WORDS = re.compile(r"(?<![`\w])(Shapes|Cost\s+per\s+step|Source|Differs):(?=\s)")
LINE = re.compile(r"\n(?=\*\*(?:Shapes|Cost per step|Source):)")
PREPRINT = re.compile(r"(?<![\w/\[])arXiv:(\d{4}\.\d{4,5})")
NAME = re.compile(r"`(seqmem(?:\.\w+)+)`")
DATACLASSES = ("Module", "NamedTuple")  # of Equinox, of Python


class Docstrings(griffe.Extension):
    """What differs between docstrings of seqmem and those that Griffe expects."""

    def on_package(self, *, pkg: griffe.Module, **kwargs) -> None:
        for obj in list(objects_of(pkg)):
            if obj.is_module:
                uncover(obj)
            if obj.docstring is not None:
                obj.docstring.value = linked(readable(obj.docstring.value), pkg)
            for annotation in annotations_of(obj):
                quote_shapes(annotation)
            if obj.is_class and is_dataclass(obj):
                decorator = griffe.ExprName("dataclasses.dataclass")
                obj.decorators.append(griffe.Decorator(decorator, lineno=None, endlineno=None))
                for field in obj.members.values():
                    rename_field(field)


def objects_of(obj: griffe.Object) -> Iterator[griffe.Object]:
    yield obj
    for member in obj.members.values():
        if not member.is_alias:
            yield from objects_of(member)


def annotations_of(obj: griffe.Object) -> list[griffe.Expr | str | None]:
    if obj.is_function:
        return [obj.returns, *(parameter.annotation for parameter in obj.parameters)]
    return [obj.annotation] if obj.is_attribute else []


def quote_shapes(annotation: griffe.Expr | str | None) -> None:
    """The shape "time *batch" of jaxtyping is a string, and not the product that Griffe reads."""
    if not dataclasses.is_dataclass(annotation):
        return
    parts = getattr(annotation, "slice", None)
    if isinstance(parts, griffe.ExprTuple) and annotation.canonical_path.startswith("jaxtyping."):
        shape = str(parts.elements[-1]).replace(" * ", " *")
        parts.elements[-1] = shape if shape.startswith(("'", '"')) else f'"{shape}"'
    for field in dataclasses.fields(annotation):
        value = getattr(annotation, field.name)
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, griffe.Expr):
                quote_shapes(part)


def uncover(package: griffe.Module) -> None:
    """A function of the name of its file, `blocks.tcn`, is the public object, and not the file."""
    for name, file in list(package.members.items()):
        path = f"{package.path}.{name}"
        if not file.is_alias and package.imports.get(name) == f"{path}.{name}":
            for member in package.members.values():
                if member.is_alias and member.target_path.startswith(f"{path}."):
                    member.resolve_target()
            package.set_member(name, griffe.Alias(name, file.members[name], parent=package))


def readable(docstring: str) -> str:
    """The docstring in the form that Griffe's parser and Markdown expect."""
    paragraphs = [
        text if text.startswith(("    ", ">>>")) else LINE.sub("  \n", with_marks(text))
        for text in docstring.split("\n\n")
    ]
    lines = "\n\n".join(paragraphs).split("\n")
    return "\n".join(TITLES.get(line, line) for line in lines)


def with_marks(text: str) -> str:
    return PREPRINT.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", WORDS.sub(r"**\1:**", text))


def linked(docstring: str, package: griffe.Module) -> str:
    """The docstring with public names as links to their entries."""

    def link(match: re.Match) -> str:
        path = match[1].split(".")[1:]
        is_public = not any(name.startswith("_") for name in path) and has_entry(package, path)
        return f"[{match[0]}][{match[1]}]" if is_public else match[0]

    return NAME.sub(link, docstring)


def has_entry(package: griffe.Module, path: list[str]) -> bool:
    """The path leads to what an `__init__` imports, and not to a module or to a method."""
    *parents, name = path
    module = package
    for parent in parents:
        module = module.members.get(parent)
        if module is None or module.is_alias or not module.is_module:
            return False
    return name in module.members and not (
        not module.members[name].is_alias and module.members[name].is_module
    )


def is_dataclass(cls: griffe.Class) -> bool:
    """An Equinox module or a named tuple without an `__init__`, its own or of a base."""
    classes = [cls, *cls.mro()]
    bases = [str(base).split(".")[-1] for base in (base for c in classes for base in c.bases)]
    has_init = any("__init__" in base.members for base in classes)
    return any(name in DATACLASSES for name in bases) and not has_init


def rename_field(field: griffe.Object) -> None:
    """`eqx.field(...)` is `dataclasses.field(...)` to Griffe."""
    value = field.value if not field.is_alias and field.is_attribute else None
    if isinstance(value, griffe.ExprCall) and value.canonical_path == "equinox.field":
        value.function = griffe.ExprName("dataclasses.field")
