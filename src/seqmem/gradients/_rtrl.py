"""Real-time recurrent learning: gradients without a backward pass."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._core.cell import AbstractCell, project, readout, update
from .._core.errors import bad_input
from .._core.precision import as_precision, precision
from .._core.problem import State
from .._core.ravel import RealRavel
from ._real_parameters import as_gradient, real_parameters, with_real_parameters
from ._traces import AbstractTraceForm, FullTrace, Trace
from ._unit_axes import unit_trace


class TracedState(NamedTuple):
    """A state and its derivative by the parameters.

    Attributes:
        state: the state of the inner cell.
        trace: for each real parameter, the derivative of the state's real entries; None where a
            parameter feeds no state.
    """

    state: State
    trace: Trace


class RTRL(AbstractCell):
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
    Source: Williams & Zipser 1989, Neural Computation 1(2); with `unit_axes` Zucchet et al. 2023,
    arXiv:2305.15947. Differs: any cell, its derivatives by JAX. All of a step is in the state's
    precision.

    Args:
        cell: the cell; every leaf of its state is inexact.
        unit_axes: for each parameter the axis that counts the units of the state, for a cell whose
            units do not feed each other and whose parameters' entries each feed one unit; None for
            a parameter that feeds no state. A prefix of the cell's tree: 0 stands for all
            parameters. This is not checked, and the gradient is wrong for another cell. Without
            `unit_axes` the trace is complete, for any cell.

    Raises:
        ValueError: where the state is not inexact, or `unit_axes` does not fit the shapes.

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
    trace_form: AbstractTraceForm = eqx.field(static=True)

    def __init__(self, cell: AbstractCell, unit_axes: PyTree = None):
        self.cell = cell
        state = jax.eval_shape(cell.init_state)
        dtypes = [leaf.dtype for leaf in jax.tree.leaves(state)]
        if not all(jnp.issubdtype(dtype, jnp.inexact) for dtype in dtypes):
            raise bad_input(
                f"RTRL got a cell with a state of {', '.join(map(str, dtypes))}.",
                "a state of floating point numbers.",
                "use backpropagation through time, seqmem.unroll, for this cell.",
            )
        self.trace_form = FullTrace() if unit_axes is None else unit_trace(cell, unit_axes)

    @property
    def input_shape(self) -> Any:  # pyright: ignore
        return self.cell.input_shape

    def init_state(self):
        ravel = self._ravel()
        cell = as_precision(self.cell, precision(ravel.like))

        def initial_vector(parameters: list[Array]) -> Float[Array, " n"]:
            return ravel.vector(with_real_parameters(cell, parameters).init_state())

        vector, pull = jax.vjp(initial_vector, real_parameters(cell))
        (direct,) = jax.vmap(pull)(self._rows(vector))
        return TracedState(ravel.state(vector), self.trace_form.select(direct))

    def project(self, x):
        return x

    def update(self, traced, x):
        ravel = self._ravel()

        def next_vector(parameters: list[Array], vector: Float[Array, " n"]):
            cell, state = with_real_parameters(self.cell, parameters), ravel.state(vector)
            return ravel.vector(update(cell, state, project(cell, x, state)))

        vector, pull = jax.vjp(next_vector, real_parameters(self.cell), ravel.vector(traced.state))
        direct, J = jax.vmap(pull)(self._rows(vector))
        trace = self.trace_form.advance(J, traced.trace, self.trace_form.select(direct))
        return TracedState(ravel.state(vector), trace)

    def readout(self, traced, x):
        return readout(self.cell, traced.state, project(self.cell, x, traced.state))

    def gradient(self, traced: TracedState, d_state: State) -> AbstractCell:
        """The parameters' gradient through the state, from ∂L_t/∂s_t as `jax.grad` returns it.

        For one example; use `jax.vmap` for a batch. The derivatives of L_t by the parameters within
        the readout of step t are not included: see `output_gradient`.
        """
        ravel = self._ravel()
        vector = ravel.vector(traced.state)
        (d_vector,) = jax.vjp(ravel.state, vector)[1](d_state)
        derivatives = self.trace_form.contract(d_vector, traced.trace)
        parameters = real_parameters(self.cell)
        return as_gradient(
            self.cell,
            [
                jnp.zeros_like(p) if derivative is None else derivative.astype(p.dtype)
                for p, derivative in zip(parameters, derivatives, strict=True)
            ],
        )

    def output_gradient(self, traced: TracedState, x: PyTree, d_output: PyTree) -> AbstractCell:
        """The parameters' gradient of the loss at one step, from ∂L_t/∂y_t; all parts included.

        `traced` is the state after `x`. The sum over the steps is the gradient of Σ L_t.
        """

        def output(parameters: list[Array], state: State) -> PyTree:
            cell = with_real_parameters(self.cell, parameters)
            return readout(cell, state, project(cell, x, state))

        parameters = real_parameters(self.cell)
        direct, d_state = jax.vjp(output, parameters, traced.state)[1](d_output)
        through_state = self.gradient(traced, d_state)
        return jax.tree.map(jnp.add, as_gradient(self.cell, direct), through_state)

    def _ravel(self) -> RealRavel:
        return RealRavel(jax.eval_shape(self.cell.init_state))

    def _rows(self, vector: Float[Array, " n"]) -> Float[Array, "rows n"]:
        return self.trace_form.rows(vector.size).astype(vector.dtype)
