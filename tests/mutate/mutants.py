"""The mutants of a source file: cosmic-ray's, without those that no test of behaviour can catch."""

import ast
import dataclasses
import functools
import random
import re
from collections.abc import Iterator
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

from .children import ROOT

# One or two replacements of each operator: the opposite and, of an order, the border. cosmic-ray
# has eleven for each, most of which fail in every run (a float shifted by bits): a better score.
KINDS = re.compile(
    r"NumberReplacer|AddNot|ZeroIterationForLoop|ExceptionReplacer"
    r"|Replace(TrueWithFalse|FalseWithTrue|AndWithOr|OrWithAnd|BreakWithContinue|ContinueWithBreak)"
    r"|ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul|FloorDiv_Mul|Mod_FloorDiv|Pow_Mul"
    r"|BitOr_BitAnd|BitAnd_BitOr|BitXor_BitOr|LShift_RShift|RShift_LShift)"
    r"|ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Lt_LtE|Lt_GtE|LtE_Lt|LtE_Gt|Gt_GtE|Gt_LtE"
    r"|GtE_Gt|GtE_Lt|Is_IsNot|IsNot_Is)"
    r"|ReplaceUnaryOperator_(USub_UAdd|Delete_Not|Delete_Invert)"
)


Span = tuple[tuple[int, int], tuple[int, int]]  # line and column: from, and up to


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One change of one file; `before` and `after` are the text of the lines that differ."""

    file: str
    line: int
    before: str
    after: str
    source: str = dataclasses.field(repr=False)


def mutants_of(file: str, seed: int) -> Iterator[Mutant]:
    """All mutants of a file of the repository, in an order that the seed draws."""
    text = (ROOT / file).read_text(encoding="utf-8")
    candidates = [(name, occurrence) for name, occurrence, _ in positions(text)]
    random.Random(f"{seed} {file}").shuffle(candidates)
    for name, occurrence in candidates:
        try:
            source = mutate_code(text, get_operator(name)(), occurrence)
        except AttributeError:  # cosmic-ray does not know an exception with a dot
            continue
        if source is not None and _is_program(source):
            yield Mutant(file, *_difference(text, source), source)


def count(file: str) -> int:
    return sum(1 for _ in positions((ROOT / file).read_text(encoding="utf-8")))


def positions(text: str) -> Iterator[tuple[str, int, tuple[int, int]]]:
    """The operator, the number of its occurrence, and line and column of each mutant."""
    tree = ast.parse(text)
    excluded = list(_excluded(tree))
    operations = [_place(n) for n in ast.walk(tree) if isinstance(n, ast.BinOp | ast.AugAssign)]
    nodes = list(ast_nodes(get_ast(text)))
    for name in _operators():
        operator = get_operator(name)()
        places = (start for node in nodes for start, _ in operator.mutation_positions(node))
        for occurrence, place in enumerate(places):
            if _is_in(place, excluded):
                continue
            if "Binary" in name and not _is_in(place, operations):
                continue  # the `*` before keyword arguments
            yield name, occurrence, place


@functools.cache
def _operators() -> tuple[str, ...]:
    return tuple(name for name in operator_names() if KINDS.fullmatch(name.split("/")[1]))


def _excluded(tree: ast.Module) -> Iterator[Span]:
    """Annotations, formatted text, messages of errors, and imports for the type checker."""
    for node in ast.walk(tree):
        spans: list[ast.AST | None] = []
        if isinstance(node, ast.AnnAssign | ast.arg):
            spans = [node.annotation]
        elif isinstance(node, ast.FunctionDef):
            spans = [node.returns]
        elif isinstance(node, ast.JoinedStr | ast.Raise) or _is_unseen(node):
            spans = [node]
        for span in spans:
            if span is not None:
                yield _place(span)


def _is_unseen(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) in ("bad_input", "warnings.warn")
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _is_in(place: tuple[int, int], spans: list[Span]) -> bool:
    return any(start <= place < end for start, end in spans)


def _place(node: ast.AST) -> Span:
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)  # type: ignore


def _is_program(source: str) -> bool:
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def _difference(before: str, after: str) -> tuple[int, str, str]:
    """The number of the first line that differs, and the two texts of it."""
    pairs = zip(before.splitlines(), after.splitlines(), strict=False)
    for number, (old, new) in enumerate(pairs, start=1):
        if old != new:
            return number, old.strip(), re.sub(r"\s+", " ", new.strip())
    raise AssertionError("the mutant is the source")


def files_of(names: list[str]) -> list[str]:
    """The files of rooms, folders and files of `src/seqmem`."""
    paths: list[Path] = []
    for name in names:
        path = ROOT / "src" / "seqmem" / name
        paths += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return [str(path.relative_to(ROOT)) for path in paths]
