"""The outputs of an mLSTM, whose memory is held divided by exp(m), at any m."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmem._cells.fast_weights.mlstm import normalised


@pytest.mark.parametrize("eps", [0.0, 1e-3])
@pytest.mark.parametrize("m", [-1000.0, -100.0, -2.0, 0.0, 1.0, 70.0, 1000.0])
@pytest.mark.parametrize("row", [[0.0, 0.0, 0.0], [2.0, -1.0, 0.5], [1e-15, 3e-15, -2e-15]])
def test_output_and_its_gradient_are_finite_and_exact_in_float32(row, m, eps):
    def total(scaled, m):
        return normalised((scaled, m), eps).sum()

    scaled, log_scale = jnp.array([row], jnp.float32), jnp.array([[m]], jnp.float32)
    got = normalised((scaled, log_scale), eps)[0]
    *values, n = np.array(row, np.longdouble)
    largest = max(abs(n), np.exp(-np.longdouble(m)))
    np.testing.assert_allclose(got, np.array(values) / (largest + eps), rtol=1e-5, atol=1e-30)
    gradients = jax.grad(total, argnums=(0, 1))(scaled, log_scale)
    assert all(jnp.isfinite(leaf).all() for leaf in gradients)
