"""The norm of a tree: squares that float32 cannot hold, and derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmem._core.trees import tree_norm


@pytest.mark.parametrize("scale", [1e-30, 0.1, 1, 1e30])
def test_norm_is_that_of_all_entries_at_any_scale(scale):
    tree = {"a": jnp.float32([[3, 0], [1, 2]]) * scale, "b": jnp.float32([[1], [7]]) * scale}
    np.testing.assert_allclose(tree_norm(tree), 8 * np.float32(scale), rtol=1e-6)
    np.testing.assert_allclose(
        tree_norm(tree, leading_axes=1), np.sqrt(np.float32([10, 54])) * scale, rtol=1e-6
    )


def test_derivative_of_the_norm_is_the_direction_and_0_at_0():
    derivative = jax.grad(tree_norm)
    np.testing.assert_allclose(derivative(jnp.float32([3, 0, -4])), [0.6, 0, -0.8], rtol=1e-6)
    np.testing.assert_allclose(derivative(jnp.float32([-0.5])), [-1], rtol=1e-6)
    assert derivative(jnp.zeros(2)).tolist() == [0, 0]
