"""How many steps it takes until the initial state no longer changes the outputs."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from .._core.cell import AbstractCell
from .._core.problem import State
from .._core.shapes import leading_axes
from .._core.trees import tree_norm
from .._core.validation import check_positive
from .._unroll import unroll


def burn_in(
    cell: AbstractCell,
    state: State | None,
    other_state: State | None,
    xs: PyTree,
    *,
    epsilon: float = 1e-3,
    **options,
) -> Int[Array, "*batch"]:
    """Steps until runs from two initial states give the same outputs: the least k with

        ‖y_t − y'_t‖ ≤ ε    for all t ≥ k

    and T, the number of steps in `xs`, where the last outputs still differ. Training that starts
    from an arbitrary state should run at least k steps before the loss counts.

    Source: the burn-in of Kapturowski et al. 2019, R2D2 (ICLR).

    Args:
        cell: the cell.
        state: one initial state; None is `cell.init_state()`.
        other_state: the other one, e.g. a state carried over from another sequence.
        xs: the inputs of both runs, [time, *batch, ...].
        epsilon: the largest distance between equal outputs, in units of the output, > 0.
        options: those of `seqmem.unroll`.

    Raises:
        ValueError: where epsilon is not above 0.

    Example:
        >>> import jax, seqmem
        >>> cell, xs = seqmem.RNN(3, 5, key=jax.random.key(0)), jax.numpy.ones((50, 3))
        >>> 1 < int(seqmem.dynamics.burn_in(cell, None, jax.numpy.ones(5), xs)) < 50
        True
    """
    check_positive("burn_in", "epsilon", epsilon, remedy="leave it out for 1e-3.")
    ys, other_ys = (unroll(cell, start, xs, **options)[1] for start in (state, other_state))
    leading = len(leading_axes(cell.input_shape, xs))
    differs = tree_norm(jax.tree.map(jnp.subtract, ys, other_ys), leading) > epsilon
    steps = len(differs) - differs[::-1].argmax(0)
    return jnp.where(differs.any(0), steps, 0)
