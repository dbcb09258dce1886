"""Zero-order hold, where its quotient loses digits, and at zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmem._cells.zero_order_hold import SMALL, zero_order_hold

DELTA = 0.5
REAL = np.array([0, 1e-30, -1e-9, 1e-4, -0.9 * SMALL, 1.1 * SMALL, -1, -20]) / DELTA


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-13), ("float32", 1e-4)])
def test_gain_and_its_gradient_lose_no_digits(dtype, tolerance):
    def gain(a):
        a = jax.lax.complex(a, jnp.zeros_like(a))
        return zero_order_hold(a, jnp.asarray(DELTA, dtype))[1].real

    with jax.enable_x64(True):
        a = jnp.asarray(REAL, dtype)
        gains, slopes = jax.vmap(jax.value_and_grad(gain))(a)
    # The integrals of exp(as) and of s exp(as) over a step, by Gauss's rule.
    places, weights = np.polynomial.legendre.leggauss(40)
    s, weights = DELTA / 2 * (1 + places), DELTA / 2 * weights
    exponentials = np.exp(np.asarray(a, float)[:, None] * s)
    np.testing.assert_allclose(gains, exponentials @ weights, rtol=tolerance)
    np.testing.assert_allclose(slopes, (exponentials * s) @ weights, rtol=tolerance)
