"""The pages of docs/api: `python -m tests.helpers.api_pages` writes them again.

A page has one entry, a directive of mkdocstrings, for each public name whose module stands in
`PAGES`. Names are read off the source of the `__init__` files, in their order; nothing is imported.
"""

import ast
import collections
import pathlib
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parent.parent.parent
PACKAGE = ROOT / "src" / "seqmem"
FOLDER = ROOT / "docs" / "api"
COMMAND = "python -m tests.helpers.api_pages"


class Page(NamedTuple):
    """A page of the API.

    Attributes:
        title: its heading.
        text: what it is about, in Markdown.
        modules: of `seqmem/__init__.py`, those whose names belong here, as "_cells.gated" for all
            modules below it; a longer one goes first. Public modules are written "seqmem.layers",
            and all of their names belong here; the docstring of one that is first begins the page.
    """

    title: str
    text: str
    modules: tuple[str, ...]


PAGES = {
    "running": Page(
        "Running a cell",
        "`unroll` runs a cell over time, and `solve` returns its states and statistics too. The "
        "guide is [sequences](../sequences.md).",
        (
            *("_unroll", "_core.problem", "_core.timed", "_core.perturbations", "_core.cache"),
            *("_core.cpu_cores", "_core.platform", "_core.packing", "_core.resets"),
        ),
    ),
    "methods": Page(
        "Methods",
        "How the recurrence is evaluated over time: the argument `method` of `unroll`. The guide "
        "is [how to choose a method](../choose_a_method.md).",
        (
            *("_methods.scan", "_methods.parallel", "_methods.newton", "_methods.sharded"),
            *("_methods.remat", "_methods.fused", "_methods"),
        ),
    ),
    "gated": Page(
        "Gated cells",
        "Cells with one recurrent product per step, followed by gates: the RNN, the LSTM, the GRU "
        "and their relatives.",
        ("_cells.gated", "_cells.pointwise"),
    ),
    "diagonal": Page(
        "Cells whose state moves linearly",
        "The state is multiplied by a diagonal matrix, or by one of small blocks, and added to, so "
        "all steps can be computed at once: gated linear units and state space models.",
        ("_cells.diagonal", "_cells.block_diagonal"),
    ),
    "fast_weights": Page(
        "Cells with a matrix memory",
        "The state is a matrix per head, to which a step writes and from which it reads: linear "
        "attention and delta rules.",
        ("_cells.fast_weights",),
    ),
    "windows": Page(
        "Convolutions and attention",
        "Windows over the last inputs, attention to all inputs so far, and gated cells whose state "
        "is an image.",
        ("_cells.window", "_cells.attention", "_cells.convolutional"),
    ),
    "continuous": Page(
        "Cells for irregular times",
        "The input carries the time since the last one: `seqmem.Timed(x, delta_t)`.",
        ("_cells.continuous",),
    ),
    "external": Page(
        "Cells with an external memory",
        "Slots outside of the network, with heads of a controller, which is any cell.",
        ("_cells.external",),
    ),
    "unstructured": Page(
        "Other cells",
        "Cells that make no promise about their step. Every method for all cells runs them.",
        ("_cells.unstructured",),
    ),
    "spikes": Page(
        "Spiking cells",
        "Units that spike, and `seqmem.spikes`: their surrogate gradients and resets.",
        ("_cells.spiking", "seqmem.spikes"),
    ),
    "changed_cells": Page(
        "Changed cells",
        "Functions that return the same cell with one thing changed; all methods still run it.",
        ("_wrappers", "_cells.gates"),
    ),
    "matrices": Page(
        "Recurrent matrices",
        "Structures of recurrent weights: the argument `recurrent` of `RNN`, `LSTM`, `GRU` and "
        "others.",
        ("_cells.matrices",),
    ),
    "writing": Page(
        "Writing cells, families and methods",
        "What a cell, a family or a method outside of seqmem is made of. The guide is "
        "[write a cell](../write_a_cell.md).",
        ("_core",),
    ),
    "layers": Page("Layers", "", ("seqmem.layers", "seqmem.layers.pooling")),
    "blocks": Page("Blocks", "", ("seqmem.blocks",)),
    "models": Page("Models", "The guide is [models](../models.md).", ("seqmem.models",)),
    "decoding": Page("Decoding", "", ("seqmem.decoding",)),
    "gradients": Page(
        "Gradients", "The guide is [gradients](../gradients.md).", ("seqmem.gradients",)
    ),
    "pictures": Page("Pictures", "", ("seqmem.gradients.pictures",)),
    "dynamics": Page("Dynamics", "The guide is [dynamics](../dynamics.md).", ("seqmem.dynamics",)),
    "training": Page("Training", "The guide is [training](../training.md).", ("seqmem.training",)),
    "experiment": Page("Experiments", "", ("seqmem.experiment",)),
    "tasks": Page("Tasks", "", ("seqmem.tasks",)),
    "data": Page("Data", "", ("seqmem.data",)),
    "interop": Page(
        "Other libraries",
        "The guide is [from other libraries](../other_libraries.md).",
        ("seqmem.interop", "seqmem.interop.nnx"),
    ),
    "testing": Page(
        "Testing and citing",
        "The guide for scans and kernels is [check your own kernel](../conformance.md).",
        ("seqmem.testing", "seqmem.testing.strategies", "_citation"),
    ),
}


# Methods that a class inherits from a base without an entry, and that users call
ONLINE = ("gradient", "output_gradient")
INHERITED = dict.fromkeys(("EProp", "KFRTRL", "RFLO", "RTRL", "SnAp", "UORO"), ONLINE)
INHERITED |= dict.fromkeys(("TTTLinear", "TTTMLP"), ("weights_of", "predict", "loss"))


def tree_of(module: str) -> ast.Module:
    """The source of a public module, such as "seqmem.layers"."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


def public_names(module: str) -> dict[str, str]:
    """The public names of a module, in order, each with the module that it is imported from.

    They are what it imports under their own names, or defines where it imports nothing so.
    """
    tree = tree_of(module)
    imported = {
        alias.asname: node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.level and node.module
        for alias in node.names
        if alias.asname and not alias.asname.startswith("_")
    }
    defined = {
        node.name: ""
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    }
    return imported or defined


def place_of(module: str) -> str:
    """The module in PAGES under which names go that `seqmem/__init__.py` imports from `module`."""
    places = {place for page in PAGES.values() for place in page.modules}
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        if ".".join(parts[:length]) in places:
            return ".".join(parts[:length])
    raise ValueError(f"seqmem.{module} has no page: give it one in PAGES of {__name__}")


def entries() -> dict[str, list[str]]:
    """The paths of the public names of each page."""
    paths: dict[str, list[str]] = collections.defaultdict(list)
    for name, module in public_names("seqmem").items():
        paths[place_of(module)].append(f"seqmem.{name}")
    for module in (module for page in PAGES.values() for module in page.modules):
        if module.startswith("seqmem."):
            paths[module] += [f"{module}.{name}" for name in public_names(module)]
    return {
        name: [path for module in page.modules for path in paths[module]]
        for name, page in PAGES.items()
    }


def text_of(name: str) -> str:
    """A page in Markdown."""
    title, text, modules = PAGES[name]
    is_public = modules[0].startswith("seqmem.")
    parts = [f"# {title}", summary_of(modules[0]) if is_public else "", text]
    parts += [entry(path) for path in entries()[name]]
    return "\n\n".join(filter(None, parts)) + "\n"


def entry(path: str) -> str:
    """The directive for a public name."""
    methods = INHERITED.get(path.split(".")[-1])
    if methods is None:
        return f"::: {path}"
    return f"::: {path}\n    options:\n      inherited_members: [{', '.join(methods)}]"


def summary_of(module: str) -> str:
    """The first paragraph of a module's docstring."""
    tree = tree_of(module)
    return " ".join((ast.get_docstring(tree) or "").split("\n\n")[0].split())


def index() -> str:
    """The page that leads to the others."""
    lines = [
        "# API",
        "Every public name, by page. Cells are compared in one [table](../cells.md).",
    ]
    for name, paths in entries().items():
        links = ", ".join(f"[`{path.split('.')[-1]}`]({name}.md#{path})" for path in paths)
        lines.append(f"**[{PAGES[name].title}]({name}.md)**: {links}")
    return "\n\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    return {"index": index()} | {name: text_of(name) for name in PAGES}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.md"):
        path.unlink()
    for name, text in pages().items():
        (FOLDER / f"{name}.md").write_text(text, encoding="utf-8")
    print(f"wrote {len(pages())} pages to {FOLDER}")


if __name__ == "__main__":
    main()
