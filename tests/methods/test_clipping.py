"""Clipping of gradients within the recurrence, of complex states too."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.gradients import ClipValue
from tests.helpers.unrolling import normal


def test_clip_value_limits_entries_and_the_modulus_of_complex_ones():
    clip = ClipValue(0.5)
    d_state = {"real": jnp.array([3.0, -0.2, -7.0]), "complex": jnp.array([3 + 4j, 0.1j, 0])}
    clipped = clip(d_state, jnp.array(0))
    np.testing.assert_allclose(clipped["real"], [0.5, -0.2, -0.5])
    np.testing.assert_allclose(clipped["complex"], [0.3 + 0.4j, 0.1j, 0], rtol=1e-6)


@pytest.mark.usefixtures("float64")
def test_clipped_gradient_of_a_complex_state_is_the_same_on_both_scans():
    cell = seqmem.S5(2, 4, key=jax.random.key(0))
    cell = jax.tree.map(lambda leaf: leaf.astype(float), cell)
    xs = jnp.asarray(normal(7, 3, 2))

    @functools.partial(jax.jit, static_argnums=1)
    @jax.grad
    def gradient(cell, method):
        return jnp.sum(jnp.sin(seqmem.unroll(cell, None, xs, method=method)[1]))

    got = gradient(cell, seqmem.Scan(transform=ClipValue(0.05)))
    want = gradient(cell, seqmem.ReferenceScan(transform=ClipValue(0.05)))
    free = gradient(cell, seqmem.Scan())
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    assert any(
        float(jnp.abs(a - b).max()) > 1e-3
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(free), strict=True)
    )
