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
from .._core.precision import as_precision, keep_inexact, precision, split_inexact
from .._unroll import unroll
from .comparison import EXACT, LawBroken, NotTested, label, largest_difference, not_finite
from .compiler import compiled
from .draws import BATCH, LENGTHS, RESETS, TIME, inexact_shapes, normal, tolerance
from .gradients import values_and_vjp, vjp
from .jacobian_law import jacobian_equations
from .reference_loop import perturbed_step, step, unstack, zeros_like
from .subject import Subject


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
            "the structure of the cell does not equal itself, so that jax.jit compiles again at "
            "every call; static fields must be equal to themselves",
        )


def pure(cell: AbstractCell, x: PyTree) -> None:
    """The cell's functions depend on their arguments and parameters alone."""
    cell = as_precision(cell, np.dtype(np.float64))
    rng = np.random.default_rng(0)

    def draw() -> tuple[PyTree, PyTree]:
        """A state and an input."""
        both = jax.tree.map(jnp.asarray, (cell.init_state(), x))
        differentiable, constant = split_inexact(as_precision(both, np.dtype(np.float64)))
        moved = jax.tree.map(lambda leaf: leaf + normal(rng, leaf), differentiable)
        return eqx.combine(moved, constant)

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

    def results(*args: PyTree) -> dict[str, PyTree]:
        return {name: call() for name, call in calls(*args).items()}

    try:
        one, other = draw(), draw()
        first = results(cell, *one)
    except Exception as error:
        raise NotTested(f"a single step raised {type(error).__name__}: {error}") from error
    second = {}
    for name, call in calls(cell, *one).items():
        results(cell, *other)  # a side channel now holds values of the other call
        second[name] = call()
    _check_same(second, first, EXACT, "called again with the same arguments")
    _check_same(jax.jit(results)(cell, *one), first, tolerance(one), "called under jit")
    _check_same(results(cell, *one), first, EXACT, "called again after it was traced")


def _check_same(got: PyTree, expected: PyTree, allowed: float, when: str) -> None:
    difference = largest_difference(got, expected, allowed)
    if difference:
        raise LawBroken(
            "pure",
            f"{when}, the cell returns other numbers, so it reads something besides its "
            f"arguments and parameters; {difference}",
        )


def types(cell: AbstractCell, x: PyTree, methods: tuple[AbstractMethod, ...]) -> None:
    """A step keeps the shapes and dtypes of the state, in every precision."""
    with jax.enable_x64(False):
        if precision(cell) != np.float64:
            _check_step_types(cell, x, "")
        if not any(map(jnp.iscomplexobj, jax.tree.leaves(cell))):  # complex numbers have 64 bits
            narrow = as_precision(cell, jnp.dtype(jnp.bfloat16))
            _check_step_types(narrow, x, " with bfloat16 parameters")
            for method in methods:
                _check_gradient_types(narrow, x, method)
    _check_step_types(as_precision(cell, np.dtype(np.float64)), x, " with float64 parameters")


def _check_step_types(cell: AbstractCell, x: PyTree, where: str) -> None:
    x = _shapes_of(x)
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


def _check_gradient_types(cell: AbstractCell, x: PyTree, method: AbstractMethod) -> None:
    def with_axes(*axes: int):
        return lambda leaf: jax.ShapeDtypeStruct((*axes, *leaf.shape), leaf.dtype)

    def gradients(cell, state, xs):
        run = functools.partial(unroll, lengths=LENGTHS, resets=RESETS, method=method)
        (final, _), (d_cell, d_state, _) = values_and_vjp(run, keep_inexact, cell, state, xs)
        return {
            "the final state": final,
            "the gradient of the parameters": d_cell,
            "the gradient of the state": d_state,
        }

    state = jax.tree.map(with_axes(BATCH), jax.eval_shape(cell.init_state))
    got = jax.eval_shape(
        gradients, cell, state, jax.tree.map(with_axes(TIME, BATCH), _shapes_of(x))
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


def _shapes_of(x: PyTree) -> PyTree:
    """The shapes of an input, in the dtypes of the current precision."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
            np.shape(leaf), jax.dtypes.canonicalize_dtype(jnp.result_type(leaf))
        ),
        x,
    )


def separate(subject: Subject) -> None:
    """No two leaves of a state are the same array, which could not be donated."""
    cell, x = subject.cell, subject.inputs()
    state = cell.init_state()
    for name, tree in {
        "init_state": state,
        "update": update(cell, state, project(cell, x, state)),
    }.items():
        labels: dict[int, str] = {}
        for path, leaf in jax.tree.leaves_with_path(tree):
            if id(leaf) in labels:
                raise LawBroken(
                    "separate",
                    f"{name} returns one array as {labels[id(leaf)]} and as {label(path)} of the "
                    "state; make two arrays, or remove a leaf",
                )
            labels[id(leaf)] = label(path)


def finite(subject: Subject) -> None:
    """Values and derivatives are finite at x = 0, which replaces padding."""
    zero = jax.tree.map(np.zeros_like, subject.inputs())
    states = {
        "the initial state": subject.cell.init_state(),
        "a state it reaches": unstack(subject.reached_states(1), 1)[0],
    }
    for where, state in states.items():
        new, y = compiled(step)(subject.cell, state, zero)
        ones = jax.tree.map(np.ones_like, keep_inexact((new, y)))
        d_cell, d_state, d_x, _ = compiled(vjp, 0)(
            perturbed_step, ones, subject.cell, state, zero, zeros_like(state)
        )
        for name, tree in {
            "the new state": new,
            "the output": y,
            "the gradient of the parameters": d_cell,
            "the gradient of the state": d_state,
            "the gradient of the input": d_x,
        }.items():
            place = not_finite({name: tree})
            if place:
                raise LawBroken(
                    "finite",
                    f"from {where}, at x = 0, {place}; normalise with an epsilon, and keep roots "
                    "and logarithms away from 0",
                )


def promise(subject: Subject) -> None:
    """The equations that the cell and its family promise hold at random states."""
    if precision(subject.state) not in (None, np.float64):
        raise NotTested("the state is not float64 under float64 parameters")
    for equations in (*(law.equations for law in subject.cell.family.laws), jacobian_equations):
        for statement, left, right in equations(subject.cell, subject):
            difference = largest_difference(left, right, subject.tolerance)
            if difference:
                message = f"the cell or its family promises {statement}; {difference}"
                raise LawBroken("promise", message)


def family_functions(
    cell: AbstractCell, state: PyTree, drive: PyTree
) -> dict[str, Callable[[], PyTree]]:
    """The functions that a family adds to project, update and readout, ready for a call."""
    functions = {}
    for law in cell.family.laws:
        if law.functions is not None:
            functions |= law.functions(cell, state, drive)
    return functions
