"""Real-time recurrent learning: gradients without a backward pass."""

from jaxtyping import PyTree

from .._core.cell import AbstractCell
from ._online_cell import AbstractOnlineCell, check_inner_cell
from ._traces import AbstractTraceForm, FullTrace
from ._unit_axes import unit_trace


class RTRL(AbstractOnlineCell):
    """A cell that carries the exact derivative of its state by its parameters.

        s_t = update(s_{t−1}, project(x_t))
        e_t = (∂s_t/∂s_{t−1}) e_{t−1} + ∂s_t/∂θ      e_0 = ∂s_0/∂θ
        ∂L/∂θ = Σ_t (∂L_t/∂s_t e_t + the derivative of the readout at step t)

    The sum is the gradient of backpropagation through time as `jax.grad` returns it, as long as the
    parameters do not change during the run. It covers learned initial states, complex parameters
    and, since the state of a `Stack` is that of all its layers, stacks.

    Shapes: n real entries in the state (a complex entry counts twice); the trace of a parameter is
    [n, *parameter]. With `unit_axes` it is [1, *parameter], or [2, *parameter] for a complex state.
    A complex parameter has two traces, of its real and its imaginary part.
    Cost per step: O(n² · parameters); with `unit_axes` O(parameters).
    Source: Williams & Zipser 1989, Neural Computation 1(2), doi:10.1162/neco.1989.1.2.270; with
    `unit_axes` Zucchet et al. 2023, arXiv:2305.15947. Differs: any cell, its derivatives by JAX.
    All of a step is in the state's precision.

    Args:
        cell: the cell; every leaf of its state is inexact.
        unit_axes: for each parameter the axis that counts the units of the state, for a cell whose
            units do not feed each other and whose parameters' entries each feed one unit; None for
            a parameter that feeds no state. A prefix of the cell's tree: 0 stands for all
            parameters. This is not checked, and the gradient is wrong for another cell. Without
            `unit_axes` the trace is complete, for any cell.

    Raises:
        ValueError: where the state is not inexact, a part of the cell is computed from parameters,
            or `unit_axes` does not fit the shapes.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.MinGRU(3, 5, key=jax.random.key(0))
        >>> online = seqmem.gradients.RTRL(cell, unit_axes=1)  # W is [gate, unit, input]
        >>> x = jax.numpy.ones(3)
        >>> state, y = online(online.init_state(), x)
        >>> online.output_gradient(state, x, 2 * y).W.shape  # of the loss Σ y²
        (2, 5, 3)
    """

    cell: AbstractCell
    trace_form: AbstractTraceForm

    def __init__(self, cell: AbstractCell, unit_axes: PyTree = None):
        check_inner_cell("RTRL", cell)
        self.cell = cell
        self.trace_form = FullTrace() if unit_axes is None else unit_trace(cell, unit_axes)
