"""A gate and its derivative, written in operations that Mosaic GPU has a rule for."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from .traces import inner_jaxpr

Planes = list[jax.Array]


def run_gate(gate: Callable[[Planes, Planes], Planes], state: Planes, z: Planes) -> Planes:
    """The next state."""
    return _run_known(gate, state, z)


def pull_back(
    gate: Callable[[Planes, Planes], Planes], state: Planes, z: Planes, d_new: Planes
) -> tuple[Planes, Planes]:
    """The cotangents of the state and of z."""

    def derivative(state: Planes, z: Planes, d_new: Planes) -> tuple[Planes, Planes]:
        return jax.vjp(gate, state, z)[1](d_new)

    return _run_known(derivative, state, z, d_new)


def _log1p(x: jax.Array, **_: Any) -> jax.Array:
    """ln(1 + x), by Kahan: the rounding error of 1 + x cancels."""
    u = 1 + x
    log = jnp.log(u)
    return jnp.where(u == 1, x, jnp.where(u == x, log, log * (x / (u - 1))))


def _integer_pow(x: jax.Array, *, y: int) -> jax.Array:
    power = functools.reduce(jax.lax.mul, [x] * abs(y), jnp.ones_like(x))
    return 1 / power if y < 0 else power


# Operations that have no rule, or none for every parameter, in others.
REWRITTEN = {"add_any": jax.lax.add, "integer_pow": _integer_pow, "log1p": _log1p}


def _run_known(fn: Callable, *args: Any) -> Any:
    """`fn(*args)` without the operations that are rewritten."""
    closed, results = jax.make_jaxpr(fn, return_shape=True)(*args)
    return jax.tree.unflatten(jax.tree.structure(results), _run(closed, jax.tree.leaves(args)))


def _run(closed: Any, args: list) -> list:
    jaxpr = closed.jaxpr
    values = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    values |= zip(jaxpr.invars, args, strict=True)

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else values[atom]

    for equation in jaxpr.eqns:
        arguments = [read(atom) for atom in equation.invars]
        inner, name = inner_jaxpr(equation), equation.primitive.name
        if inner is not None:
            results = _run(inner, arguments)
        elif name in REWRITTEN:
            results = [REWRITTEN[name](*arguments, **equation.params)]
        else:
            results = equation.primitive.bind(*arguments, **equation.params)
            results = results if equation.primitive.multiple_results else [results]
        values |= zip(equation.outvars, results, strict=True)
    return [read(atom) for atom in jaxpr.outvars]
