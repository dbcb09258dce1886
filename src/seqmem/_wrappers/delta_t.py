"""`with_delta_t`: a cell whose step is as long as the time since the previous input."""

from typing import ClassVar

from .._core.calls import makes_layer
from .._core.cell import AbstractCell, readout
from .._core.errors import bad_input
from .._core.precision import as_precision, precision
from .._core.timed import Timed
from .wrapper import AbstractWrapper, WrappedCell


class DeltaT(AbstractWrapper):
    name: ClassVar = "with_delta_t"
    has_new_update = True

    def input_shape(self, cell):
        return Timed(cell.input_shape, ())

    def project(self, cell, x):
        return cell.project(x.x), x.delta_t

    def update(self, cell, state, drive):
        drive, delta_t = drive
        return as_precision(cell, precision(state)).update_over(state, drive, delta_t)

    def readout(self, cell, state, drive):
        return readout(cell, state, drive[0])


@makes_layer
def with_delta_t(cell: AbstractCell) -> AbstractCell:
    """A cell whose inputs are `seqmem.Timed(x, delta_t)`: the time Δt since the previous input
    scales its step, in units of the cell's own.

        s_t = update_over(s_{t−1}, project(x_t), Δt_t)      Δt = 1 is the cell itself

    Cells that have it, and what a step of Δt is:

        S4D, S5                       Δ becomes Δt · Δ: exact for an input that is held over Δt
        LRU                           λ becomes λ^Δt; the input is an impulse, whatever Δt is
        LinOSSIM, LinOSSIMEX, DLinOSS Δ becomes Δt · Δ in all of their equations

    Without input, n steps of Δt/n are one step of Δt for S4D, S5 and LRU; oscillators are
    discretised by a rule that is not exact. LinOSSIMEX is unstable where (Δt Δ)² A > 4, so long
    gaps are for LinOSSIM or DLinOSS. The cell keeps its family, and with it `Parallel` and
    `Sharded`. A cell of your own has the method `update_over(state, drive, delta_t)`, and `update`
    is that method with delta_t = 1.

    Source: for S5, Smith et al. 2023, arXiv:2208.04933, in whose code, lindermanlab/S5, Δ of an
    irregular sequence is multiplied by the time between its samples. For the others nothing is
    claimed of a paper.

    Args:
        cell: a cell with `update_over`.

    Raises:
        ValueError: for a cell without.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> cell = seqmem.with_delta_t(seqmem.S5(3, 5, key=jax.random.key(0)))
        >>> xs = seqmem.Timed(jnp.ones((7, 2, 3)), jnp.full((7, 2), 0.5))
        >>> seqmem.unroll(cell, None, xs)[1].shape
        (7, 2, 3)
    """
    if not hasattr(cell, "update_over"):
        raise bad_input(
            f"with_delta_t got a {type(cell).__name__}, whose step has no length.",
            "a cell with update_over, such as S4D, S5, LRU or LinOSSIM.",
            "take one of these, or a cell in continuous time, such as seqmem.CfC; wrap the cell in "
            "with_delta_t first, and in other wrappers then.",
        )
    return WrappedCell(cell, DeltaT())
