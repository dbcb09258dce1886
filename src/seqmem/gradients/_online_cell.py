"""Cells that carry a derivative of their state by their parameters: the base of online learning."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._core.cell import AbstractCell, project, readout, update
from .._core.errors import bad_input
from .._core.parametrization import is_parametrization
from .._core.precision import as_precision, precision
from .._core.problem import State
from .._core.ravel import RealRavel
from ._real_parameters import as_gradient, real_parameters, with_real_parameters
from ._traces import AbstractTraceForm, Trace

CellStep = Callable[[AbstractCell, State, PyTree], State]  # cell, state, x ↦ the next state


class TracedState(NamedTuple):
    """A state and its derivative by the parameters, or what stands for it.

    Attributes:
        state: the state of the inner cell.
        trace: what the algorithm carries; its class says how it is stored.
    """

    state: State
    trace: Trace


def full_step(cell: AbstractCell, state: State, x: PyTree) -> State:
    """The state after one input."""
    return update(cell, state, project(cell, x, state))


class AbstractOnlineCell(AbstractCell):
    """A cell that computes the gradient of another one while it runs.

    Its state is that of the cell and a trace, so it runs, is reset and is trained as any
    other cell, and no past states are stored. Parameters may change between the steps: replace the
    inner cell, `equinox.tree_at(lambda online: online.cell, online, new_cell)`.

    Attributes:
        cell: the inner cell.
        trace_form: how the trace is stored and moved.
        step: the step whose derivatives move the trace; its value is that of the cell's step.
        feedback: a matrix that carries the gradient of an output to the state in place of the
            derivative of the readout, [entries of the state, entries of the output]; None for that
            derivative.
    """

    cell: eqx.AbstractVar[AbstractCell]
    trace_form: eqx.AbstractVar[AbstractTraceForm]
    step: ClassVar[CellStep] = staticmethod(full_step)
    feedback: ClassVar[Any] = None

    @property
    def input_shape(self) -> Any:  # pyright: ignore
        return self.cell.input_shape

    def init_state(self):
        ravel = ravel_of(self.cell)
        cell = as_precision(self.cell, precision(ravel.like))

        def initial(parameters: list[Array]) -> Float[Array, " n"]:
            return ravel.vector(with_real_parameters(cell, parameters).init_state())

        vector, trace = self.trace_form.start(initial, real_parameters(cell))
        return TracedState(ravel.state(vector), trace)

    def project(self, x):
        return x

    def update(self, traced, x):
        ravel = ravel_of(self.cell)

        def step(parameters: list[Array], vector: Float[Array, " n"]) -> Float[Array, " n"]:
            cell = with_real_parameters(self.cell, parameters)
            return ravel.vector(type(self).step(cell, ravel.state(vector), x))

        vector = ravel.vector(traced.state)
        vector, trace = self.trace_form.advance(
            step, real_parameters(self.cell), vector, traced.trace, x
        )
        return TracedState(ravel.state(vector), trace)

    def readout(self, traced, x):
        return readout(self.cell, traced.state, project(self.cell, x, traced.state))

    def gradient(self, traced: TracedState, d_state: State) -> AbstractCell:
        """The parameters' gradient through the state, from ∂L_t/∂s_t as `jax.grad` returns it.

        For one example; use `jax.vmap` for a batch. The derivatives of L_t by the parameters within
        the readout of step t are not included: see `output_gradient`.
        """
        ravel = ravel_of(self.cell)
        vector = ravel.vector(traced.state)
        (d_vector,) = jax.vjp(ravel.state, vector)[1](d_state)
        return self._gradient(d_vector, traced.trace)

    def output_gradient(self, traced: TracedState, x: PyTree, d_output: PyTree) -> AbstractCell:
        """The parameters' gradient of the loss at one step, from ∂L_t/∂y_t; all parts included.

        `traced` is the state after `x`. The sum over the steps is the gradient of Σ L_t, or the
        algorithm's estimate of it. For one example; use `jax.vmap` for a batch.
        """

        def output(parameters: list[Array], state: State) -> PyTree:
            cell = with_real_parameters(self.cell, parameters)
            return readout(cell, state, project(cell, x, state))

        parameters = real_parameters(self.cell)
        direct, d_state = jax.vjp(output, parameters, traced.state)[1](d_output)
        if self.feedback is None:
            through_state = self.gradient(traced, d_state)
        else:
            d_vector = self.feedback @ RealRavel(d_output).vector(d_output)
            through_state = self._gradient(d_vector, traced.trace)
        return jax.tree.map(jnp.add, as_gradient(self.cell, direct), through_state)

    def _gradient(self, d_vector: Float[Array, " n"], trace: Trace) -> AbstractCell:
        derivatives = self.trace_form.contract(d_vector, trace)
        parameters = real_parameters(self.cell)
        return as_gradient(
            self.cell,
            [
                jnp.zeros_like(p) if derivative is None else derivative.astype(p.dtype)
                for p, derivative in zip(parameters, derivatives, strict=True)
            ],
        )


def ravel_of(cell: AbstractCell) -> RealRavel:
    """The map between the states of a cell and vectors."""
    return RealRavel(jax.eval_shape(cell.init_state))


def check_inner_cell(name: str, cell: AbstractCell) -> None:
    """Refuse a cell whose state has no derivative, or whose arrays `unroll` would replace."""
    if any(map(is_parametrization, jax.tree.leaves(cell, is_leaf=is_parametrization))):
        raise bad_input(
            f"{name} got a {type(cell).__name__} with a part that is computed from parameters.",
            "a cell of plain arrays, since a run puts the value in the place of the parameters.",
            "pass seqmem.evaluate_parametrizations(cell), and pull its gradient back through that "
            "function by jax.vjp.",
        )
    dtypes = [leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(cell.init_state))]
    if not all(jnp.issubdtype(dtype, jnp.inexact) for dtype in dtypes):
        raise bad_input(
            f"{name} got a cell with a state of {', '.join(map(str, dtypes))}.",
            "a state of floating point numbers.",
            "use backpropagation through time, seqmem.unroll, for this cell.",
        )
