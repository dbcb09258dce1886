"""The sparse n-step approximation of real-time recurrent learning."""

from jaxtyping import PyTree

from .._core.cell import AbstractCell
from .._core.validation import check_sizes
from ._online_cell import AbstractOnlineCell, check_inner_cell, full_step
from ._reach import reach_of_step, reach_within
from ._sparse_trace import sparse_trace
from ._traces import AbstractTraceForm


class SnAp(AbstractOnlineCell):
    """Sparse n-step approximation: real-time recurrent learning of those entries of the state that
    a parameter reaches within n steps; what it does later to other entries is dropped.

        e_t = M ∘ ((∂s_t/∂s_{t−1}) e_{t−1} + ∂s_t/∂θ)
        M_ij = 1 where θ_j changes entry i of the state within n steps, else 0

    It is exact (`RTRL`) where M leaves out zeros alone: SnAp-1 for a diagonal cell, SnAp-n with a
    large n for any. Of a densely connected cell SnAp-2 is already `RTRL`; n > 1 is for sparse ones.
    Methods as of `RTRL`: `gradient` and `output_gradient`.

    M is read off derivatives when the object is made, at 128 steps with random inputs and states. A
    zero in a recurrent matrix that is not all zeros is a connection that is not there, so make it
    after the matrix has its values; for a matrix that starts as the identity only n = 1 and large n
    keep their meaning. The zeros of M are not updated when the parameters change.

    Shapes: the trace of a parameter is [k, *parameter], for k entries of the state that its entries
    reach: with n = 1 k is 1 for a GRU, 2 for an LSTM or a complex state. Cost per step:
    O(n_s² · hidden) for the Jacobian of n_s entries of the state, and O(k² · parameters). Making
    it: the memory of the complete trace, [n_s, *parameter].
    Source: Menick et al. 2021, arXiv:2006.07232 (ICLR 2021); of the paper the abstract and the
    introduction were read. Differs: any cell, its derivatives by JAX.

    Args:
        cell: the cell; every leaf of its state is inexact.
        n: steps, >= 1.
        xs: inputs to read M off, [steps, ...], for a cell that reads tokens or whose input has no
            known size; None draws them.

    Raises:
        ValueError: for an n below 1, a state that is not inexact, a part that is computed from
            parameters, traced parameters, or inputs that cannot be drawn.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.GRU(3, 5, key=jax.random.key(0))
        >>> online = seqmem.gradients.SnAp(cell)
        >>> x = jax.numpy.ones(3)
        >>> state, y = online(online.init_state(), x)
        >>> online.output_gradient(state, x, 2 * y).U.shape  # of the loss Σ y²
        (3, 5, 5)
    """

    cell: AbstractCell
    trace_form: AbstractTraceForm

    def __init__(self, cell: AbstractCell, n: int = 1, *, xs: PyTree | None = None):
        check_sizes("SnAp", n=n)
        check_inner_cell("SnAp", cell)
        self.cell = cell
        reach = reach_of_step("SnAp", cell, full_step, xs)
        self.trace_form = sparse_trace(reach, reach_within(reach, n))
