"""The laws of a single step."""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from .._core.cell import AbstractCell, project, readout, update
from .._core.method import AbstractMethod
from .._core.precision import as_precision, inexact, precision, split
from .._unroll import unroll
from .compiler import compiled
from .loop import pull, pulled, step, unstacked
from .trial import BATCH, SHORTER, SOME, TIME, Trial, inexact_shapes, normal, tolerance
from .verdict import EXACT, LawBroken, NotJudged, furthest, label, not_finite


def tree(cell: AbstractCell) -> None:
    """Every leaf of the cell is an array, and its structure is equal to itself."""
    for path, leaf in jax.tree.leaves_with_path(cell):
        if not eqx.is_array(leaf):
            raise LawBroken(
                "tree",
                f"{label(path)} of the cell is {leaf!r}; make it a static field, "
                "equinox.field(static=True), or a jax.Array",
            )
    if jax.tree.structure(cell) != jax.tree.structure(cell):
        raise LawBroken(
            "tree",
            "the structure of the cell is another whenever it is looked at, so that jax.jit "
            "compiles anew at every call; what is static in it must be equal to itself",
        )


def pure(cell: AbstractCell, x: PyTree) -> None:
    """The cell's functions depend on nothing but their arguments and parameters."""
    cell = as_precision(cell, np.dtype(np.float64))
    rng = np.random.default_rng(0)

    def given() -> tuple[PyTree, PyTree]:
        """A state and an input."""
        both = jax.tree.map(jnp.asarray, (cell.init_state(), x))
        moving, still = split(as_precision(both, np.dtype(np.float64)))
        return eqx.combine(jax.tree.map(lambda leaf: leaf + normal(rng, leaf), moving), still)

    def calls(cell: AbstractCell, state: PyTree, x: PyTree) -> dict[str, Callable[[], PyTree]]:
        drive = project(cell, x, state)
        new = update(cell, state, drive)
        return {
            "init_state()": cell.init_state,
            "project(x)": lambda: project(cell, x, state),
            "update(state, drive)": lambda: update(cell, state, drive),
            "readout(state, drive)": lambda: readout(cell, new, drive),
            **family_functions(cell, state, drive),
        }

    def returned(*args: PyTree) -> dict[str, PyTree]:
        return {name: call() for name, call in calls(*args).items()}

    try:
        one, other = given(), given()
        first = returned(cell, *one)
    except Exception as error:
        raise NotJudged(f"a single step raised {type(error).__name__}: {error}") from error
    again = {}
    for name, call in calls(cell, *one).items():
        returned(cell, *other)  # what a side channel holds now belongs to the other
        again[name] = call()
    _same(again, first, EXACT, "called again with the same arguments")
    _same(jax.jit(returned)(cell, *one), first, tolerance(one), "called under jit")
    _same(returned(cell, *one), first, EXACT, "called again after it was traced")


def _same(got: PyTree, want: PyTree, allowed: float, when: str) -> None:
    where = furthest(got, want, allowed)
    if where:
        raise LawBroken(
            "pure",
            f"{when}, the cell returns other numbers, so it looks at something beside its "
            f"arguments and parameters; {where}",
        )


def types(cell: AbstractCell, x: PyTree, methods: tuple[AbstractMethod, ...]) -> None:
    """A step keeps the shapes and dtypes of the state, in every precision."""
    with jax.enable_x64(False):
        if precision(cell) != np.float64:
            _step_keeps_types(cell, x, "")
        if not any(map(jnp.iscomplexobj, jax.tree.leaves(cell))):  # which have no 16 bits
            narrow = as_precision(cell, jnp.dtype(jnp.bfloat16))
            _step_keeps_types(narrow, x, " with bfloat16 parameters")
            for method in methods:
                _gradients_keep_types(narrow, x, method)
    _step_keeps_types(as_precision(cell, np.dtype(np.float64)), x, " with float64 parameters")


def _step_keeps_types(cell: AbstractCell, x: PyTree, where: str) -> None:
    x = _as_traced(x)
    try:
        before = jax.eval_shape(cell.init_state)
        after, _ = jax.eval_shape(cell, before, x)
    except (TypeError, ValueError) as error:
        raise LawBroken(
            "types", f"one step{where} raised {type(error).__name__}: {error}"
        ) from error
    if jax.tree.structure(before) != jax.tree.structure(after):
        raise LawBroken(
            "types",
            f"update{where} returns the tree {jax.tree.structure(after)}, "
            f"and init_state {jax.tree.structure(before)}",
        )
    for (path, old), new in zip(
        jax.tree.leaves_with_path(before), jax.tree.leaves(after), strict=True
    ):
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            raise LawBroken(
                "types",
                f"update{where} returns {new.dtype}{list(new.shape)} for "
                f"state{label(path)}, which init_state makes {old.dtype}{list(old.shape)}",
            )


def _gradients_keep_types(cell: AbstractCell, x: PyTree, method: AbstractMethod) -> None:
    def over(*axes: int):
        return lambda leaf: jax.ShapeDtypeStruct((*axes, *leaf.shape), leaf.dtype)

    def differentiated(cell, state, xs):
        run = functools.partial(unroll, lengths=SHORTER, resets=SOME, method=method)
        (final, _), (d_cell, d_state, _) = pulled(run, inexact, cell, state, xs)
        return {
            "the final state": final,
            "the gradient of the parameters": d_cell,
            "the gradient of the state": d_state,
        }

    state = jax.tree.map(over(BATCH), jax.eval_shape(cell.init_state))
    got = jax.eval_shape(
        differentiated, cell, state, jax.tree.map(over(TIME, BATCH), _as_traced(x))
    )
    want = {
        "the final state": state,
        "the gradient of the parameters": inexact_shapes(cell),
        "the gradient of the state": inexact_shapes(state),
    }
    for (path, one), other in zip(
        jax.tree.leaves_with_path(got), jax.tree.leaves(want), strict=True
    ):
        if one.dtype != other.dtype:
            raise LawBroken(
                "types",
                f"{method!r} with bfloat16 parameters makes {label(path)} {one.dtype}, "
                f"not {other.dtype}",
            )


def _as_traced(x: PyTree) -> PyTree:
    """Shapes of an input as a program of the present precision would hold it."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
            np.shape(leaf), jax.dtypes.canonicalize_dtype(jnp.result_type(leaf))
        ),
        x,
    )


def separate(trial: Trial) -> None:
    """No two leaves of a state are the same array: a donated state would be donated twice."""
    cell, x = trial.cell, trial.inputs()
    state = cell.init_state()
    for name, tree in {
        "init_state": state,
        "update": update(cell, state, project(cell, x, state)),
    }.items():
        seen: dict[int, str] = {}
        for path, leaf in jax.tree.leaves_with_path(tree):
            if id(leaf) in seen:
                raise LawBroken(
                    "separate",
                    f"{name} returns one array as {seen[id(leaf)]} and as {label(path)} of the "
                    "state; make two, or keep one",
                )
            seen[id(leaf)] = label(path)


def finite(trial: Trial) -> None:
    """Values and derivatives are finite at x = 0, which is what padding is replaced by."""
    zero = jax.tree.map(np.zeros_like, trial.inputs())
    states = {
        "the initial state": trial.cell.init_state(),
        "a state it reaches": unstacked(trial.reached(1), 1)[0],
    }
    for where, state in states.items():
        new, y = compiled(step)(trial.cell, state, zero, None)
        ones = jax.tree.map(np.ones_like, inexact((new, y)))
        d_cell, d_state, d_x, _ = compiled(pull, 0)(step, ones, trial.cell, state, zero, None)
        for what, tree in {
            "the new state": new,
            "the output": y,
            "the gradient of the parameters": d_cell,
            "the gradient of the state": d_state,
            "the gradient of the input": d_x,
        }.items():
            found = not_finite({what: tree})
            if found:
                raise LawBroken(
                    "finite",
                    f"from {where}, at x = 0, {found}; normalise with an epsilon, and keep roots "
                    "and logarithms away from 0",
                )


def promise(trial: Trial) -> None:
    """What the cell's family promises, at states that it reaches and at random ones."""
    if precision(trial.state) not in (None, np.float64):
        raise NotJudged("the state is not float64 under float64 parameters")
    for law in trial.cell.family.laws:
        for statement, left, right in law.equations(trial.cell, trial):
            where = furthest(left, right, trial.tolerance)
            if where:
                raise LawBroken("promise", f"the family of the cell promises {statement}; {where}")


def family_functions(
    cell: AbstractCell, state: PyTree, drive: PyTree
) -> dict[str, Callable[[], PyTree]]:
    """The functions that a family adds to project, update and readout, ready to be called."""
    functions = {}
    for law in cell.family.laws:
        if law.functions is not None:
            functions |= law.functions(cell, state, drive)
    return functions
