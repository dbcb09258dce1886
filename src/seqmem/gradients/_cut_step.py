"""The step of a gated cell whose recurrent product has no derivative by the state."""

import jax
from jaxtyping import PyTree

from .._cells.gated.family import GATED, gate, mix
from .._core.cell import AbstractCell, project
from .._core.errors import bad_input
from .._core.problem import State
from ._online_cell import check_inner_cell
from ._reach import reach_of_step, reach_within
from ._sparse_trace import sparse_trace
from ._traces import AbstractTraceForm


def cut_step(cell: AbstractCell, state: State, x: PyTree) -> State:
    """gate(s, mix(stop_gradient(s), u)): the value of a step, and what remains of its Jacobian
    where the pre-activations z are held constant.
    """
    z = mix(cell, jax.lax.stop_gradient(state), project(cell, x, state))
    return gate(cell, state, z)


def cut_trace(name: str, cell: AbstractCell, xs: PyTree | None) -> AbstractTraceForm:
    """The form of the trace that is exact for `cut_step`.

    Raises:
        ValueError: where the cell is not of the gated family, and as `reach_of_step`.
    """
    check_inner_cell(name, cell)
    if cell.family is not GATED:
        raise bad_input(
            f"{name} got {type(cell).__name__}, of the family {cell.family.name}.",
            "a gated cell, seqmem.AbstractGatedCell: its mix and gate say which part of the "
            "derivative goes through the recurrent weights.",
            "use SnAp or UORO, or RTRL, which is exact.",
        )
    reach = reach_of_step(name, cell, cut_step, xs)
    return sparse_trace(reach, reach_within(reach, None))
