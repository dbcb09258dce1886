"""e-prop: eligibility traces without the recurrent derivative."""

from typing import ClassVar

from jaxtyping import PyTree

from .._core.cell import AbstractCell
from ._cut_step import cut_step, cut_trace
from ._online_cell import AbstractOnlineCell
from ._traces import AbstractTraceForm


class EProp(AbstractOnlineCell):
    """e-prop: the gradient without what goes from unit to unit through the recurrent weights.

        s_t = gate(s_{t−1}, z_t),    z_t = mix(s_{t−1}, u_t)
        e_t = ∂s_t/∂s_{t−1} |_z  e_{t−1} + ∂s_t/∂θ            eligibility
        ∂L/∂θ ≈ Σ_t (∂L_t/∂s_t e_t + the derivative of the readout at step t)

    It is the exact gradient of the cell whose `mix` gets stop_gradient(s_{t−1}); only the memory
    within a unit, as c of an LSTM or the potential of a spiking unit, carries the trace. The
    learning signal ∂L_t/∂s_t is the true one of step t (symmetric e-prop); errors of later steps
    that come back through the recurrent weights are left out. `RFLO` has a random signal. Methods
    as of `RTRL`: `gradient` and `output_gradient`.

    Shapes: the trace of a parameter is [k, *parameter], for k entries of a unit's state: 1 for a
    GRU, 2 for an LSTM, up to 3 for `AdaptiveLIF`. Cost per step: O(n_s · hidden²) for the Jacobian
    of n_s entries of the state, and O(k² · parameters). Making it: the memory of the complete
    trace, [n_s, *parameter]. Which entries a parameter reaches is read off derivatives, as by
    `SnAp`.
    Source: Bellec et al. 2020, Nature Communications 11, doi:10.1038/s41467-020-17236-y, of which
    the abstract and the introduction were read. Differs: any gated cell, its derivatives by JAX;
    what a unit's own state does within `gate` has its derivative, so that a reset counts where it
    has a gradient (`seqmem.spikes`, by default it has none).

    Args:
        cell: a cell of the gated family.
        xs: as for `SnAp`.

    Raises:
        ValueError: for a cell of another family, a state that is not inexact, a part that is
            computed from parameters, traced parameters, or inputs that cannot be drawn.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.AdaptiveLIF(3, 5, key=jax.random.key(0))
        >>> online = seqmem.gradients.EProp(cell)
        >>> x = jax.numpy.ones(3)
        >>> state, y = online(online.init_state(), x)
        >>> online.output_gradient(state, x, 2 * y).U.shape
        (5, 5)
    """

    step: ClassVar = staticmethod(cut_step)

    cell: AbstractCell
    trace_form: AbstractTraceForm

    def __init__(self, cell: AbstractCell, *, xs: PyTree | None = None):
        self.cell = cell
        self.trace_form = cut_trace("EProp", cell, xs)
