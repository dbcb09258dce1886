"""Forms of the trace ∂v/∂θ: how it is stored, and how a step moves it.

v is the state as one real vector of n entries, θ the parameters as real arrays. A step moves the
trace by the Jacobian J of the step and the direct derivative,

    e_t = J e_{t−1} + ∂v_t/∂θ

of which a form keeps all, or some, or an estimate.
"""

import abc
import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

Trace = Any  # a tree of arrays; a form knows its own
Initial = Callable[[list[Array]], Array]  # θ ↦ v_0
Step = Callable[[list[Array], Array], Array]  # θ, v_{t−1} ↦ v_t


class AbstractTraceForm(eqx.Module):
    """How ∂v/∂θ is stored. Its arrays, if it has any, are not trained."""

    @abc.abstractmethod
    def start(self, initial: Initial, parameters: list[Array]) -> tuple[Array, Trace]:
        """The first state and its trace."""

    @abc.abstractmethod
    def advance(
        self, step: Step, parameters: list[Array], vector: Array, trace: Trace, x: PyTree
    ) -> tuple[Array, Trace]:
        """The state and the trace after a step with the input `x`."""

    @abc.abstractmethod
    def contract(self, d_vector: Float[Array, " n"], trace: Trace) -> list[Array | None]:
        """The derivatives of a loss by the parameters, from its gradient by v; None for 0."""


class FullTrace(AbstractTraceForm):
    """∂v/∂p for each parameter p, [n, *p]."""

    def start(self, initial, parameters):
        vector, (direct,) = pull_rows(initial, jnp.eye, parameters)
        return vector, tuple(direct)

    def advance(self, step, parameters, vector, trace, x):
        new, (direct, J) = pull_rows(step, jnp.eye, parameters, vector)
        pairs = zip(trace, direct, strict=True)
        return new, tuple(jnp.tensordot(J, old, 1) + part for old, part in pairs)

    def contract(self, d_vector, trace):
        return [jnp.tensordot(d_vector, array, 1) for array in trace]


class UnitTrace(AbstractTraceForm):
    """∂v_u/∂p_u for each parameter p, where unit u depends on its entries p_u and on itself alone.

    A unit is one real entry of v or, of a complex state, two: [components, *p]. One pullback of
    ones per component then holds the derivatives of all units.

    Attributes:
        num_units: the number of units.
        unit_axes: for each parameter, the axis that counts units; None where it feeds no unit.
    """

    num_units: int = eqx.field(static=True)
    unit_axes: tuple[int | None, ...] = eqx.field(static=True)

    def start(self, initial, parameters):
        vector, (direct,) = pull_rows(initial, self._rows, parameters)
        pairs = zip(self.unit_axes, direct, strict=True)
        return vector, tuple(None if axis is None else array for axis, array in pairs)

    def advance(self, step, parameters, vector, trace, x):
        new, (direct, J) = pull_rows(step, self._rows, parameters, vector)
        blocks = J.reshape(len(J), -1, self.num_units)

        def of_parameter(axis: int | None, old: Any, part: Array) -> Array | None:
            return None if axis is None else _unit_products(blocks, old, axis) + part

        return new, tuple(map(of_parameter, self.unit_axes, trace, direct))

    def contract(self, d_vector, trace):
        rows = d_vector.reshape(1, -1, self.num_units)

        def of_parameter(axis: int | None, array: Any) -> Array | None:
            return None if axis is None else _unit_products(rows, array, axis)[0]

        return list(map(of_parameter, self.unit_axes, trace))

    def _rows(self, size: int) -> Float[Array, "components n"]:
        return jnp.repeat(jnp.eye(size // self.num_units), self.num_units, axis=1)


def pull_rows(
    fn: Callable[..., Array], rows: Callable[[int], Array], *args: PyTree
) -> tuple[Array, tuple[PyTree, ...]]:
    """fn(*args), a vector of n entries, and the pullbacks of the cotangents rows(n), [rows, n]."""
    vector, pull = jax.vjp(fn, *args)
    return vector, jax.vmap(pull)(rows(vector.size).astype(vector.dtype))


def _unit_products(
    matrices: Float[Array, "rows components units"],
    array: Float[Array, "components ..."],
    axis: int,
) -> Float[Array, "rows ..."]:
    """Each unit's matrix times its part of `array`, whose axis 1 + `axis` counts units."""
    product = functools.partial(jnp.tensordot, axes=1)
    return jax.vmap(product, in_axes=(2, 1 + axis), out_axes=1 + axis)(matrices, array)
