"""The number of multiplications in a program's matrix products, loops included."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr


def multiply_adds(function: Callable[..., Any], *args: Any) -> int:
    """Multiplications (each with an addition) in all `dot_general`s of a traced program."""
    return _count(jax.make_jaxpr(function)(*args).jaxpr)


def _count(jaxpr: Jaxpr) -> int:
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            outputs = math.prod(equation.outvars[0].aval.shape)
            total += outputs * math.prod(left[axis] for axis in contracted)
        iterations = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        total += iterations * sum(map(_count, _inner_jaxprs(equation.params)))
    return total


def _inner_jaxprs(params: dict[str, Any]) -> Iterator[Jaxpr]:
    for value in params.values():
        if isinstance(value, ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, Jaxpr):
            yield value
