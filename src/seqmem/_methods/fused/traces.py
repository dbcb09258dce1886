"""What the results of a traced function depend on."""

from collections.abc import Sequence
from typing import Any

from jax.extend import core

# Operations that hold another traced function, and the parameter with it.
CALLS = {
    **{"jit": "jaxpr", "pjit": "jaxpr", "remat2": "jaxpr", "checkpoint": "jaxpr"},
    **{"closed_call": "call_jaxpr", "custom_jvp_call": "call_jaxpr"},
    **{"custom_vjp_call": "call_jaxpr"},
}


def inner_jaxpr(equation: Any) -> Any | None:
    """The function that an operation calls, closed; None where it calls none."""
    parameter = CALLS.get(equation.primitive.name)
    if parameter is None:
        return None
    inner = equation.params[parameter]
    return inner if hasattr(inner, "consts") else core.ClosedJaxpr(inner, ())


def used_arguments(jaxpr: Any, live_results: Sequence[bool] | None = None) -> list[bool]:
    """Which arguments some results depend on; by default all results."""
    if live_results is None:
        live_results = [True] * len(jaxpr.outvars)
    live = _variables(jaxpr.outvars, live_results)
    for equation in reversed(jaxpr.eqns):
        live_here = [var in live for var in equation.outvars]
        if not any(live_here):
            continue
        inner = inner_jaxpr(equation)
        used = [True] * len(equation.invars)
        if inner is not None:
            used = used_arguments(inner.jaxpr, live_here)
        live |= _variables(equation.invars, used)
    return [var in live for var in jaxpr.invars]


def reached_results(jaxpr: Any, argument: int) -> list[bool]:
    """Which results depend on one argument."""
    one_result = [
        [place == result for place in range(len(jaxpr.outvars))]
        for result in range(len(jaxpr.outvars))
    ]
    return [used_arguments(jaxpr, live)[argument] for live in one_result]


def _variables(atoms: Sequence, chosen: Sequence[bool]) -> set:
    """The chosen ones that are no constants."""
    pairs = zip(atoms, chosen, strict=True)
    return {atom for atom, is_chosen in pairs if is_chosen and not isinstance(atom, core.Literal)}
