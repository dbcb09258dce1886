"""The operations of a gate, and those that Pallas does not compute on a TPU."""

from collections.abc import Iterator
from typing import Any

import jax

from .parts import NotFusableError, Parts
from .traces import inner_jaxpr

# Of those that `planes` knows; JAX 0.10.2 computes erf, JAX 0.12.0.1 does not.
NOT_ON_TPU = {
    *("acos", "acosh", "asin", "asinh", "atan", "atanh", "cbrt", "copy", "cosh", "erf", "erfc"),
    *("expm1", "sinh"),
}


def operations_of(parts: Parts, plane: jax.ShapeDtypeStruct) -> set[str]:
    """Those of the gate and of its derivative, on planes of some shape."""
    parameters = [[plane] * count for count in parts.parameter_planes]
    state, z = [plane] * parts.num_leaves, [plane] * parts.num_planes

    def value_and_derivative(parameters: Any, state: Any, z: Any) -> Any:
        new, pull_back = jax.vjp(lambda state, z: parts.gate(parameters, state, z), state, z)
        return new, pull_back(new)

    return set(_operations(jax.make_jaxpr(value_and_derivative)(parameters, state, z).jaxpr))


def check_tpu_operations(parts: Parts) -> None:
    """Refuse a gate whose value or derivative uses an operation that Pallas has no rule for.

    Raises:
        NotFusableError: with its name.
    """
    unknown = operations_of(parts, jax.ShapeDtypeStruct((8, parts.units), parts.dtype)) & NOT_ON_TPU
    if unknown:
        names = ", ".join(sorted(unknown))
        raise NotFusableError(f"its gate uses {names}, which Pallas does not compute on a TPU")


def _operations(jaxpr: Any) -> Iterator[str]:
    for equation in jaxpr.eqns:
        inner = inner_jaxpr(equation)
        if inner is None:
            yield equation.primitive.name
        else:
            yield from _operations(inner.jaxpr)
