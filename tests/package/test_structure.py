"""The structure of the source: rooms, sizes of files, names, words, and the depth of a run."""

import ast
import functools
import inspect
import io
import pathlib
import pydoc
import re
import statistics
import traceback

import jax
import jax.numpy as jnp

import seqmem

ROOT = pathlib.Path(__file__).parent.parent.parent
PACKAGE = ROOT / "src" / "seqmem"
FILES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

# A room may import itself and the rooms of the lines above it.
ORDER = [
    ("_core",),
    ("_citation",),
    ("_methods",),
    ("_cells",),
    ("_wrappers",),
    ("_unroll",),
    ("layers",),
    ("blocks",),
    ("decoding", "interop"),
    ("models",),
    ("dynamics",),
    ("gradients",),
    ("training",),
    ("experiment",),
    ("data", "tasks", "spikes", "_testing"),
    ("testing",),
    ("__init__",),
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}


@functools.cache
def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path):
    """The file as a module: ("_core", "cell"); a package ends in "__init__"."""
    return path.relative_to(PACKAGE).with_suffix("").parts


def room_of(module):
    return module[0]


def imports_of(path, *, inside_functions=True):
    """The modules of seqmem that a file imports."""
    package = name_of(path)[:-1]
    nodes = ast.walk(parse(path)) if inside_functions else _outside_functions(parse(path))
    for node in nodes:
        if isinstance(node, ast.Import):
            bases = [alias.name.split(".") for alias in node.names]
            found = [(tuple(base[1:]), []) for base in bases if base[0] == "seqmem"]
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            base += tuple(node.module.split(".")) if node.module else ()
            found = [(base, [alias.name for alias in node.names])]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "seqmem":
            base = tuple(node.module.split(".")[1:])
            found = [(base, [alias.name for alias in node.names])]
        else:
            continue
        for base, names in found:
            yield from _resolve(base, names)


def _resolve(base, names):
    """The files behind an import: of the module, or of the modules in a package."""
    if (PACKAGE.joinpath(*base).with_suffix(".py")).is_file() and base:
        yield base
        return
    for name in names or [""]:
        part = (*base, name)
        if name and PACKAGE.joinpath(*part).with_suffix(".py").is_file():
            yield part
        elif name and PACKAGE.joinpath(*part, "__init__.py").is_file():
            yield (*part, "__init__")
        else:
            yield (*base, "__init__")


def _outside_functions(node):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _outside_functions(child)


# (a) the depth of a run


class Watched(seqmem.LSTM):
    """An LSTM that records the frames of seqmem below `mix`."""

    def mix(self, state, drive):
        frames = [frame.filename for frame in traceback.extract_stack()]
        DEPTHS.append(sum(str(PACKAGE) in name for name in frames))
        return super().mix(state, drive)


DEPTHS: list[int] = []


def test_unroll_reaches_mix_within_12_frames():
    DEPTHS.clear()
    cell = Watched(3, 5, key=jax.random.key(0))
    seqmem.unroll(cell, None, jnp.ones((7, 2, 3)))
    assert DEPTHS
    assert max(DEPTHS) <= 12


# (b) and (c): functions


def test_functions_of_the_core_take_at_most_six_arguments():
    families = PACKAGE.glob("_cells/*/family.py")
    core = [PACKAGE / "_unroll.py", *PACKAGE.glob("_core/*.py"), *PACKAGE.rglob("_methods/**/*.py")]
    long = []
    for path in (*core, *families):
        for node in ast.walk(parse(path)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            args = node.args
            names = [a.arg for a in (*args.posonlyargs, *args.args, *args.kwonlyargs)]
            names += [a.arg for a in (args.vararg, args.kwarg) if a is not None]
            count = len([name for name in names if name not in ("self", "cls")])
            if count > 6 and node.name not in ("unroll", "solve"):
                long.append(f"{'/'.join(name_of(path))}: {node.name} takes {count}")
    assert not long, long


def test_source_has_at_most_three_singledispatch():
    count = sum(
        "singledispatch" in ast.unparse(decorator)
        for path in FILES
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef)
        for decorator in node.decorator_list
    )
    assert count <= 3


# (d) to (g): files


def test_unroll_is_the_only_private_module_at_the_root():
    assert [path.name for path in PACKAGE.glob("_*.py") if path.name != "__init__.py"] == [
        "_unroll.py"
    ]


def test_files_are_short():
    texts = {path: path.read_text(encoding="utf-8") for path in [*FILES, *TESTS]}
    lengths = {path: len(text.splitlines()) for path, text in texts.items()}
    assert statistics.median(lengths[path] for path in FILES) < 100
    long = {str(path): length for path, length in lengths.items() if length > 300}
    assert not long, long


def test_no_room_imports_a_higher_one():
    higher = sorted(
        {
            f"{'/'.join(name_of(path))} imports {'/'.join(module)}"
            for path in FILES
            for module in imports_of(path)
            if RANK[room_of(module)] > RANK[room_of(name_of(path))]
        }
    )
    assert not higher, higher


def test_every_folder_has_a_place_in_the_order_of_rooms():
    rooms = {room_of(name_of(path)) for path in FILES}
    assert rooms == set(RANK)


def test_imports_have_no_cycle():
    graph = {name_of(path): set(imports_of(path)) - {name_of(path)} for path in FILES}
    done, path = set(), []

    def visit(module):
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return None
        path.append(module)
        for target in sorted(graph[module]):
            cycle = visit(target)
            if cycle:
                return cycle
        done.add(path.pop())
        return None

    for module in graph:
        cycle = visit(module)
        assert not cycle, " -> ".join("/".join(part) for part in cycle)


def test_private_packages_import_nothing_in_their_init():
    filled = [
        "/".join(name_of(path))
        for path in PACKAGE.rglob("__init__.py")
        if any(part.startswith("_") for part in name_of(path)[:-1])
        and any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(parse(path)))
    ]
    assert not filled, filled


# (h) and (i): the public names


def public_modules():
    return {name: getattr(seqmem, name) for name in seqmem._SUBPACKAGES}


def test_subpackages_are_the_public_folders():
    public = {
        path.stem
        for path in PACKAGE.iterdir()
        if not path.name.startswith("_") and (path.is_dir() or path.suffix == ".py")
    }
    assert set(seqmem._SUBPACKAGES) == public


def test_every_public_name_exists():
    for name in seqmem.__all__:
        assert getattr(seqmem, name) is not None
    assert set(seqmem.__all__) == set(dir(seqmem))
    assert seqmem.data is public_modules()["data"]


def test_every_public_import_is_listed():
    """`__all__` holds whatever `seqmem/__init__.py` imports under its own name."""
    imported = {
        alias.asname
        for node in parse(PACKAGE / "__init__.py").body
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
        if not alias.asname.startswith("_")
    }
    assert imported == set(seqmem.__all__) - set(seqmem._SUBPACKAGES)


def test_help_names_the_cells_and_unroll():
    out = io.StringIO()
    pydoc.Helper(output=out).help(seqmem)
    for name in ("LSTM", "GRU", "unroll", "solve", "Newton", "layers", "data"):
        assert re.search(rf"\b{name}\b", out.getvalue()), name


def test_no_two_public_names_differ_by_case_only():
    """Within the package and within each sub-package."""
    for module in (seqmem, *public_modules().values()):
        names = [
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and not inspect.ismodule(value)
        ]
        lower = [name.lower() for name in names]
        twice = {name for name in lower if lower.count(name) > 1}
        assert not twice, (module.__name__, twice)


# (j) words

WORDS = re.compile(r"\b([Tt]old|[Aa]new|[Ll]ikewise|[Bb]egun|is none|[Bb]eside)\b")
TEXTS = [*FILES, ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_texts_use_no_word_of_the_list():
    used = [
        f"{path.relative_to(ROOT)}:{number}: {match.group()}"
        for path in TEXTS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for match in WORDS.finditer(line)
    ]
    assert not used, "\n".join(used)
