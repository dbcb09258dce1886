"""What the hidden state does: how long its beginning is felt, how large it is, how gates stand."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from .._core.batching import vmap_batch
from .._core.cell import AbstractCell, project
from .._core.errors import bad_input
from .._core.problem import State
from .._core.shapes import leading_axes
from .._core.trees import tree_norm
from .._unroll import solve, unroll
from ..dynamics._trajectory import states_before
from ._gate_values import check_gates, gate_values


def burn_in(
    cell: AbstractCell, first: State, second: State, xs: PyTree, *, epsilon: float = 1e-3, **options
) -> Int[Array, "*batch"]:
    """Steps until two initial states give the same outputs: the least k with

        ‖y_t − y'_t‖ ≤ ε    for all t ≥ k

    and T, the time in `xs`, where the last outputs still differ. So long an unlabelled beginning
    is worth running before a state is used.

    Source: the burn-in of Kapturowski et al. 2019, R2D2 (ICLR).

    Args:
        cell: the cell.
        first: one initial state.
        second: the other, e.g. a state carried over from elsewhere.
        xs: the inputs of both runs.
        epsilon: what is taken for the same, in units of the output, > 0.
        options: those of `unroll`.

    Example:
        >>> import jax, seqmem
        >>> cell, xs = seqmem.RNN(3, 5, key=jax.random.key(0)), jax.numpy.ones((50, 3))
        >>> zeros, ones = cell.init_state(), jax.numpy.ones(5)
        >>> 1 < int(seqmem.dynamics.burn_in(cell, zeros, ones, xs)) < 50
        True
    """
    if not epsilon > 0:
        raise bad_input(f"epsilon={epsilon}.", "a distance above 0.", "leave it out for 1e-3.")
    ys, others = (unroll(cell, state, xs, **options)[1] for state in (first, second))
    leading = len(leading_axes(cell, xs))
    apart = tree_norm(jax.tree.map(jnp.subtract, ys, others), leading) > epsilon
    time = apart.shape[0]
    last = time - apart[::-1].argmax(0)
    return jnp.where(apart.any(0), last, 0)


def state_norms(
    cell: AbstractCell, state: State, xs: PyTree, **options
) -> PyTree[Float[Array, "time *batch"]]:
    """‖s_t‖ for every leaf of the state; options are those of `unroll`."""
    states = solve(cell, state, xs, return_states=True, **options).states
    leading = len(leading_axes(cell, xs))
    return jax.tree.map(lambda leaf: tree_norm(leaf, leading), states)


def drift(
    cell: AbstractCell, state: State, xs: PyTree, window: int, **options
) -> Float[Array, "windows *batch"]:
    """How far a carried state still moves from window to window: ‖s_{kw} − s_{(k−1)w}‖ / ‖s_{kw}‖.

    What falls towards a level has forgotten its beginning; what keeps growing never will.

    Args:
        window: steps between two looks, 1 to half of the time.

    Raises:
        ValueError: for a window longer than half of the time, or none.
    """
    time, *_ = leading_axes(cell, xs)
    if not 1 <= window <= time // 2:
        raise bad_input(
            f"window={window}.",
            f"1 to {time // 2} steps: half of the time in xs, {time}.",
            "choose a shorter window, or pass longer inputs.",
        )
    states = solve(cell, state, xs, return_states=True, **options).states
    leading = len(leading_axes(cell, xs))
    looks = jax.tree.map(lambda leaf: leaf[window - 1 :: window], states)
    moved = jax.tree.map(lambda leaf: leaf[1:] - leaf[:-1], looks)
    there = jax.tree.map(lambda leaf: leaf[1:], looks)
    return tree_norm(moved, leading) / tree_norm(there, leading)


class GateSaturation(NamedTuple):
    """The share of time in which each unit of a gate is all but shut and all but open."""

    shut: Float[Array, "*batch hidden"]
    open: Float[Array, "*batch hidden"]


def gate_saturation(
    cell: AbstractCell, state: State, xs: PyTree, *, margin: float = 0.1, **options
) -> dict[str, GateSaturation]:
    """How often the gates stand at an end of their range, below `margin` or above 1 − `margin`.

    Source: Karpathy, Johnson & Fei-Fei 2016, arXiv:1506.02078, with the same margin.

    Args:
        cell: a cell with sigmoid gates.
        margin: in (0, 1/2).
        options: `lengths`, `resets` and `reverse` of the run; padded steps are counted, so pass
            sequences of full length where that matters.

    Raises:
        ValueError: where the cell has no gates, or the margin is out of range.

    Example:
        >>> import jax, seqmem
        >>> cell, xs = seqmem.LSTM(3, 5, key=jax.random.key(0)), jax.numpy.ones((50, 3))
        >>> gates = seqmem.dynamics.gate_saturation(cell, cell.init_state(), xs)
        >>> sorted(gates), gates["forget"].open.shape
        (['forget', 'input', 'output'], (5,))
    """
    check_gates(cell)
    if not 0 < margin < 0.5:
        raise bad_input(f"margin={margin}.", "a number between 0 and 1/2.", "leave it out for 0.1.")
    before = states_before(cell, state, xs, **options)
    leading = len(leading_axes(cell, xs))

    def one(cell: AbstractCell, state: State, x: PyTree) -> dict[str, Array]:
        return gate_values(cell, state, project(cell, x, state))

    values = vmap_batch(one, cell, leading - 1, time=True)(before, xs)
    return {
        name: Saturation((value < margin).mean(0), (value > 1 - margin).mean(0))
        for name, value in values.items()
    }
