"""The nonlinearity of networks with orthogonal matrices."""

import jax.numpy as jnp
import numpy as np

from seqmem._cells.mod_relu import mod_relu


def test_modulus_moves_by_the_bias_and_the_sign_stays():
    z = jnp.array([-2.0, -0.25, 0.0, 0.25, 2.0])
    np.testing.assert_array_equal(mod_relu(z, jnp.float32(0.5)), [-2.5, -0.75, 0, 0.75, 2.5])
    np.testing.assert_array_equal(mod_relu(z, jnp.float32(-0.5)), [-1.5, 0, 0, 0, 1.5])
