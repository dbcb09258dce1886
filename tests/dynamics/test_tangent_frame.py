"""The derivative of the QR decomposition that the instruments share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmem.dynamics._tangent_frame import orthonormalise

pytestmark = pytest.mark.usefixtures("float64")


def test_derivative_at_full_rank_is_that_of_jax():
    M, dM = np.random.default_rng(0).normal(size=(2, 5, 3))
    results = (jax.jvp(function, (M,), (dM,)) for function in (orthonormalise, jnp.linalg.qr))
    for result, expected in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-11, atol=1e-12)
