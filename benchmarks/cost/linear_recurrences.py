"""Memories that move linearly: as seqmem runs them, as scans written by hand, and in memax."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

import seqmem

WIDTH = 64
CELLS: dict[str, Callable[..., seqmem.AbstractDiagonalCell]] = {
    "LRU": seqmem.LRU,
    "MinGRU": seqmem.MinGRU,
}
BY_HAND = ("lax.scan", "associative_scan")
Run = Callable[[Any, Array], Array]  # (model, xs [time, batch, input]) -> ys


def run_seqmem(method: seqmem.AbstractMethod | None) -> Run:
    def run(cell: seqmem.AbstractCell, xs: Array) -> Array:
        return seqmem.unroll(cell, None, xs, method=method)[1]

    return run


def run_by_hand(states_of: Callable[[Array, Array], Array]) -> Run:
    """Compute all a_t and b_t of s_t = a_t ∘ s_{t−1} + b_t, then all states, then all outputs."""

    def run(cell: seqmem.AbstractDiagonalCell, xs: Array) -> Array:
        zero = cell.init_state()

        def coefficients(x: Array) -> tuple[Array, Array]:
            drive = cell.project(x)
            b, a = jax.jvp(
                lambda state: cell.update(state, drive),
                (jnp.zeros_like(zero),),
                (jnp.ones_like(zero),),
            )
            return a, b

        def readout(state: Array, x: Array) -> Array:
            return cell.readout(state, cell.project(x))

        states = states_of(*jax.vmap(jax.vmap(coefficients))(xs))
        return jax.vmap(jax.vmap(readout))(states, xs)

    return run


def states_by_scan(a: Array, b: Array) -> Array:
    def step(state: Array, coefficients: tuple[Array, Array]) -> tuple[Array, Array]:
        a, b = coefficients
        state = a * state + b
        return state, state

    return jax.lax.scan(step, jnp.zeros_like(b[0]), (a, b))[1]


def states_by_associative_scan(a: Array, b: Array) -> Array:
    def compose(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
        return second[0] * first[0], second[0] * first[1] + second[1]

    return jax.lax.associative_scan(compose, (a, b))[1]


RUNS: dict[str, Run] = {
    "seqmem": run_seqmem(None),
    "seqmem Parallel": run_seqmem(seqmem.Parallel()),
    "lax.scan": run_by_hand(states_by_scan),
    "associative_scan": run_by_hand(states_by_associative_scan),
}


def memax_lru(key: Array) -> tuple[Any, Run]:
    """memax's LRU, with its carry, a reset flag for every step and an output layer."""
    from memax.equinox.semigroups.lru import LRU

    layer = LRU(WIDTH, WIDTH, key=key)

    def run(layer: Any, xs: Array) -> Array:
        starts = jnp.zeros(len(xs), bool)
        return jax.vmap(
            lambda xs: layer(layer.initialize_carry(), (xs, starts))[1], in_axes=1, out_axes=1
        )(xs)

    return layer, run
