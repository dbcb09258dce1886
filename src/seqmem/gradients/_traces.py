"""Two forms of the trace ∂v/∂θ: complete, and for units that do not feed each other.

v is the state as one real vector of n entries, θ the parameters as real arrays. The two forms share
three operations on a trace e and the Jacobian J of a step:

    rows(n)                the cotangents of v whose pullbacks give J and ∂v/∂θ, [rows, n]
    advance(J, e, direct)  J e + direct
    contract(d, e)         dᵀ e
"""

import abc
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Trace = tuple[Any, ...]  # an array for each real parameter, or None


class AbstractTraceForm(abc.ABC):
    """How ∂v/∂θ is stored. A subclass is a frozen dataclass."""

    @abc.abstractmethod
    def rows(self, size: int) -> Float[Array, "rows n"]:
        """The cotangents that are pulled back through a step."""

    @abc.abstractmethod
    def select(self, derivatives: list[Array]) -> Trace:
        """The pulled back cotangents that belong to the trace."""

    @abc.abstractmethod
    def advance(self, J: Float[Array, "rows n"], trace: Trace, direct: Trace) -> Trace:
        """The trace after a step."""

    @abc.abstractmethod
    def contract(self, d_vector: Float[Array, " n"], trace: Trace) -> Trace:
        """The derivatives of a loss by the parameters, from its gradient by v."""


@dataclasses.dataclass(frozen=True)
class FullTrace(AbstractTraceForm):
    """∂v/∂p for each parameter p, [n, *p]."""

    def rows(self, size):
        return jnp.eye(size)

    def select(self, derivatives):
        return tuple(derivatives)

    def advance(self, J, trace, direct):
        return tuple(jnp.tensordot(J, old, 1) + new for old, new in zip(trace, direct, strict=True))

    def contract(self, d_vector, trace):
        return tuple(jnp.tensordot(d_vector, array, 1) for array in trace)


@dataclasses.dataclass(frozen=True)
class UnitTrace(AbstractTraceForm):
    """∂v_u/∂p_u for each parameter p, where unit u depends on its entries p_u and on itself alone.

    A unit is one real entry of v or, of a complex state, two: [components, *p]. One pullback of
    ones per component then holds the derivatives of all units.

    Attributes:
        num_units: the number of units.
        unit_axes: for each parameter, the axis that counts units; None where it feeds no unit.
    """

    num_units: int
    unit_axes: tuple[int | None, ...]

    def rows(self, size):
        return jnp.repeat(jnp.eye(size // self.num_units), self.num_units, axis=1)

    def select(self, derivatives):
        pairs = zip(self.unit_axes, derivatives, strict=True)
        return tuple(None if axis is None else array for axis, array in pairs)

    def advance(self, J, trace, direct):
        blocks = J.reshape(len(J), -1, self.num_units)

        def of_parameter(axis: int | None, old: Any, new: Any) -> Array | None:
            return None if axis is None else _unit_products(blocks, old, axis) + new

        return tuple(map(of_parameter, self.unit_axes, trace, direct))

    def contract(self, d_vector, trace):
        rows = d_vector.reshape(1, -1, self.num_units)

        def of_parameter(axis: int | None, array: Any) -> Array | None:
            return None if axis is None else _unit_products(rows, array, axis)[0]

        return tuple(map(of_parameter, self.unit_axes, trace))


def _unit_products(
    matrices: Float[Array, "rows components units"],
    array: Float[Array, "components ..."],
    axis: int,
) -> Float[Array, "rows ..."]:
    """Each unit's matrix times its part of `array`, whose axis 1 + `axis` counts units."""
    product = functools.partial(jnp.tensordot, axes=1)
    return jax.vmap(product, in_axes=(2, 1 + axis), out_axes=1 + axis)(matrices, array)
