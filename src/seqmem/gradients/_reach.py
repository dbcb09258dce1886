"""Which entries of a state each parameter reaches within n steps, read off derivatives."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Int, PyTree

from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.precision import keep_inexact, precision
from .._core.shapes import zeros_like_input
from .._core.timed import map_delta_t
from ._online_cell import CellStep, ravel_of
from ._real_parameters import real_parameters, with_real_parameters
from ._traces import pull_rows

# A ReLU or a surrogate gradient is 0 on a part of its inputs, so many states are visited: short
# runs from the initial one, with noise of several sizes, since states begin at 0 and may spike.
DRAWS, RUN = 128, 4
NOISE = (0.1, 0.3, 1.0)

Masks = tuple[Bool[np.ndarray, "n ..."], ...]  # one for each real parameter


class Reach(NamedTuple):
    """Where the derivatives of one step, and of the initial state, are not 0.

    Attributes:
        direct: for each parameter, the entries of the state that it reaches in one step.
        jacobian: which entry of the next state (first axis) depends on which entry of the last.
        halves: for each entry, the other half of the complex number it is part of, or itself.
    """

    direct: Masks
    jacobian: Bool[np.ndarray, "n n"]
    halves: Int[np.ndarray, " n"]


def reach_of_step(name: str, cell: AbstractCell, step: CellStep, xs: PyTree | None) -> Reach:
    """The `Reach` of a cell: what any of `DRAWS` steps along disturbed runs shows.

    A derivative that is 0 at all of them counts as absent. Arrays of zeros alone are replaced by
    small numbers; zeros among other values are connections that are not there.

    Raises:
        ValueError: where the parameters are traced, or the inputs cannot be drawn.
    """
    rng = np.random.default_rng(0)
    inputs = inputs_for(name, cell, xs, rng)
    steps = len(jax.tree.leaves(inputs)[0])
    rounds = -(-DRAWS // steps)
    inputs = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * rounds), inputs)
    sizes = np.resize(NOISE, rounds * steps)[:, None]
    noise = sizes * rng.normal(size=(rounds * steps, ravel_of(cell).size))
    found = _find_reach(without_zero_arrays(cell, rng), step, inputs, jnp.asarray(noise))
    direct, jacobian = jax.tree.map(np.asarray, found)
    return Reach(direct, jacobian, _halves(cell))


@eqx.filter_jit
def _find_reach(
    cell: AbstractCell, step: CellStep, xs: PyTree, noise: Array
) -> tuple[tuple[Array, ...], Array]:
    ravel, parameters = ravel_of(cell), real_parameters(cell)

    def initial(parameters: list[Array]) -> Array:
        return ravel.vector(with_real_parameters(cell, parameters).init_state())

    def visit(carry: tuple[Array, PyTree], inputs: tuple[PyTree, Array, Array]):
        (vector, found), (x, noise, is_start) = carry, inputs

        def move(parameters: list[Array], vector: Array) -> Array:
            return ravel.vector(
                step(with_real_parameters(cell, parameters), ravel.state(vector), x)
            )

        vector = jnp.where(is_start, first, vector) + noise.astype(vector.dtype)
        new, (direct, J) = pull_rows(move, jnp.eye, parameters, vector)
        # NaN counts as a dependence.
        found = jax.tree.map(lambda old, part: old | (part != 0), found, (tuple(direct), J))
        return (new, found), None

    first, (direct,) = pull_rows(initial, jnp.eye, parameters)
    direct = tuple(part != 0 for part in direct)
    found = direct, jnp.zeros((ravel.size, ravel.size), bool)
    is_start = jnp.arange(len(noise)) % RUN == 0
    return jax.lax.scan(visit, (first, found), (xs, noise, is_start))[0][1]


def reach_within(reach: Reach, n: int | None) -> Masks:
    """The entries that each parameter reaches within n steps; None is any number of steps.

    Both halves of a complex number are one entry.
    """

    def whole(mask: Bool[np.ndarray, "n ..."]) -> Bool[np.ndarray, "n ..."]:
        return mask | mask[reach.halves]

    J = reach.jacobian.astype(np.float32)
    masks = [whole(mask) for mask in reach.direct]
    for _ in range(len(J) if n is None else n - 1):
        grown = [whole(mask | (np.tensordot(J, mask.astype(np.float32), 1) > 0)) for mask in masks]
        if all(map(np.array_equal, grown, masks)):
            break
        masks = grown
    return tuple(masks)


def _halves(cell: AbstractCell) -> Int[np.ndarray, " n"]:
    ravel = ravel_of(cell)

    def swap(leaf: Array) -> Array:
        return jax.lax.complex(leaf.imag, leaf.real) if jnp.iscomplexobj(leaf) else leaf

    indices = jnp.arange(ravel.size, dtype=precision(ravel.like))
    return np.asarray(ravel.vector(jax.tree.map(swap, ravel.state(indices)))).astype(int)


def inputs_for(
    name: str, cell: AbstractCell, xs: PyTree | None, rng: np.random.Generator
) -> PyTree:
    """Inputs at which it is read off a cell what its trace is like: xs, or normal ones.

    Raises:
        ValueError: where the parameters are traced, or the inputs cannot be drawn.
    """
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((cell, xs))):
        raise bad_input(
            f"{name} got a cell of traced arrays.",
            "arrays with values: the entries that its trace keeps are read off them.",
            "make it outside of jax.jit and pass it in; replace its `cell` where the parameters "
            "change.",
        )
    if xs is not None:
        return jax.tree.map(jnp.asarray, xs)
    try:
        one = zeros_like_input(cell.input_shape, precision(cell) or jnp.result_type(float))
    except ValueError as error:
        raise _no_inputs(name, f"a cell with the input_shape {cell.input_shape}") from error
    if not all(np.issubdtype(leaf.dtype, np.inexact) for leaf in jax.tree.leaves(one)):
        raise _no_inputs(name, "a cell that reads tokens or flags")
    xs = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=(DRAWS, *leaf.shape)), leaf.dtype), one
    )
    return map_delta_t(jnp.abs, xs)


def _no_inputs(name: str, came: str) -> ValueError:
    return bad_input(
        f"{name} got {came}, and no xs.",
        "inputs, to read off which entries of the state each parameter reaches.",
        "pass xs, some inputs of your task, [steps, ...]; of tokens, each at least once.",
    )


def without_zero_arrays(cell: AbstractCell, rng: np.random.Generator) -> AbstractCell:
    """The cell with small numbers in place of arrays of zeros alone."""

    def fill(leaf: Array) -> Array:
        if np.any(np.asarray(leaf) != 0):
            return leaf
        return jnp.asarray(0.1 * rng.normal(size=leaf.shape)).astype(leaf.dtype)

    filled = jax.tree.map(fill, keep_inexact(cell))
    return eqx.combine(filled, cell)
