"""How often sigmoid gates are closed or open."""

from typing import NamedTuple

from jaxtyping import Array, Bool, Float, PyTree

from .._core.batching import vmap_batch
from .._core.cell import AbstractCell, project
from .._core.errors import bad_input
from .._core.problem import State
from .._core.shapes import leading_axes
from ._gate_values import check_gates, gate_values
from ._trajectory import states_before, valid_steps


class GateSaturation(NamedTuple):
    """The share of the valid steps at which each unit of a gate is saturated, in [0, 1].

    Attributes:
        closed: share of the steps with a value below `margin`.
        open: share of the steps with a value above 1 − `margin`.
    """

    closed: Float[Array, "*batch hidden"]
    open: Float[Array, "*batch hidden"]


def gate_saturation(
    cell: AbstractCell, state: State | None, xs: PyTree, *, margin: float = 0.1, **options
) -> dict[str, GateSaturation]:
    """How often each gate is near an end of its range: below `margin` or above 1 − `margin`.

    Source: Karpathy, Johnson & Fei-Fei 2016, arXiv:1506.02078, with the same margin.

    Args:
        cell: a cell with sigmoid gates.
        state: the state before the first step; None is `cell.init_state()`.
        xs: the inputs, [time, *batch, ...].
        margin: in (0, 1/2).
        options: those of `seqmem.solve`. Padded steps are not counted; a sequence without a valid
            step gives NaN.

    Raises:
        ValueError: where the cell has no gates, or the margin is out of range.

    Example:
        >>> import jax, seqmem
        >>> cell, xs = seqmem.LSTM(3, 5, key=jax.random.key(0)), jax.numpy.ones((50, 3))
        >>> gates = seqmem.dynamics.gate_saturation(cell, None, xs)
        >>> sorted(gates), gates["forget"].open.shape
        (['forget', 'input', 'output'], (5,))
    """
    check_gates(cell)
    if not 0 < margin < 0.5:
        raise bad_input(
            f"gate_saturation got margin={margin}.",
            "a number between 0 and 1/2.",
            "leave it out for 0.1.",
        )
    before = states_before(cell, state, xs, **options)
    leading = leading_axes(cell.input_shape, xs)
    valid = valid_steps(leading, **options)[..., None]

    def values_at(cell: AbstractCell, state: State, x: PyTree) -> dict[str, Array]:
        return gate_values(cell, state, project(cell, x, state))

    def share(flags: Bool[Array, "time *batch hidden"]) -> Float[Array, "*batch hidden"]:
        return (flags & valid).sum(0) / valid.sum(0)

    values = vmap_batch(values_at, cell, len(leading) - 1, time=True)(before, xs)
    return {
        name: GateSaturation(share(value < margin), share(value > 1 - margin))
        for name, value in values.items()
    }
