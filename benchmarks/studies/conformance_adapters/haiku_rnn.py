"""Haiku: `dynamic_unroll` of its cores in a `ResetCore`."""

from collections.abc import Callable
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from .entry import Entry
from .loops import HIDDEN, INPUT, scan_op, zeros


def entries() -> list[Entry]:
    h = zeros(HIDDEN)
    return [
        _entry("ResetCore of VanillaRNN", hk.VanillaRNN, h),
        _entry("ResetCore of GRU", hk.GRU, h),
        _entry("ResetCore of LSTM", hk.LSTM, hk.LSTMState(h, h)),
    ]


def _entry(name: str, make: Callable[..., Any], state: Any) -> Entry:
    def unroll(state: Any, xs: Any, resets: Any) -> tuple[Any, Any]:
        return hk.dynamic_unroll(hk.ResetCore(make(HIDDEN)), (xs, resets), state)

    def one_step(state: Any, x: Any) -> tuple[Any, Any]:
        return make(HIDDEN)(x, state)

    transformed = hk.without_apply_rng(hk.transform(unroll))
    transformed_step = hk.without_apply_rng(hk.transform(one_step))
    batch_of_one = jax.tree.map(lambda leaf: leaf[None], state)
    xs, resets = zeros(2, 1, INPUT), jnp.zeros((2, 1), bool)
    params = transformed.init(jax.random.key(0), batch_of_one, xs, resets)

    def run(params: Any, state: Any, xs: Any, resets: Any = None) -> tuple[Any, Any]:
        resets = jnp.zeros(xs.shape[:2], bool) if resets is None else resets
        return transformed.apply(params, state, xs, resets)

    def step(params: Any, state: Any, x: Any) -> tuple[Any, Any]:
        return transformed_step.apply(params, state, x)

    return Entry(name, scan_op(run, params, state, step=step, flags=("resets",)))
