"""Scans of a leaky sum, h_t = a ∘ h_{t−1} + x_t and y_t = h_t², in JAX, correct and with one fault
each.
"""

import jax
import jax.numpy as jnp

from seqmem.testing import ScanOp

SIZE = 3


def step(a, h, x):
    h = a * h + x
    return h * h, h


def leaky_sum(a, h, xs, resets=None, lengths=None):
    """A correct scan, with padding that is never read."""
    time, batch = xs.shape[:2]
    resets = jnp.zeros((time, batch), bool) if resets is None else resets
    lengths = jnp.full(batch, time) if lengths is None else lengths
    is_valid = jnp.arange(time)[:, None] < lengths

    def body(h, inputs):
        x, is_reset, is_valid = inputs
        h = jnp.where(is_reset[:, None], 0, h)
        y, new = step(a, h, jnp.where(is_valid[:, None], x, 0))
        return jnp.where(is_valid[:, None], new, h), jnp.where(is_valid[:, None], y, 0)

    h, ys = jax.lax.scan(body, h, (xs, resets, is_valid))
    return ys, h


def multiplies_by_the_mask(a, h, xs, resets=None):
    """memax and recurrentgemma: NaN survives a reset."""
    keep = 1 - resets[..., None].astype(xs.dtype) if resets is not None else jnp.ones_like(xs)

    def body(h, inputs):
        x, keep = inputs
        y, h = step(a, keep * h, x)
        return h, y

    h, ys = jax.lax.scan(body, h, (xs, keep))
    return ys, h


def reads_the_padding(a, h, xs, lengths=None):
    """Flax's `seq_lengths`: outputs and final state are selected after the fact."""
    if lengths is None:
        return leaky_sum(a, h, xs)

    def body(h, x):
        y, h = step(a, h, x)
        return h, (y, h)

    _, (ys, states) = jax.lax.scan(body, h, xs)
    return ys, states[lengths - 1, jnp.arange(len(lengths))]


def stops_the_gradient_of_the_state(a, h, xs):
    return leaky_sum(a, jax.lax.stop_gradient(h), xs)


def knows_whether_it_is_traced(a, h, xs):
    ys, h = leaky_sum(a, h, xs)
    return ys * (1.0 if isinstance(xs, jax.core.Tracer) else 2.0), h


SCAN_FAULTS = {
    stops_the_gradient_of_the_state: ("gradients", ()),
    multiplies_by_the_mask: ("NaN across segments", ("resets",)),
    reads_the_padding: ("padding", ("lengths",)),
    knows_whether_it_is_traced: ("determinism", ()),
}


def scan_op(function, **fields):
    """An op of a leaky sum."""
    a = jnp.linspace(0.3, 0.9, SIZE)
    fields = {"step": step} | fields
    return ScanOp(function, params=a, state=jnp.zeros(SIZE), x=jnp.zeros(SIZE), **fields)
