"""The outputs of an mLSTM, whose memory is held divided by exp(m), at any m; the gradient of m."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
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


CHUNKS = seqmem.Parallel(chunk_size=2)
WAYS = [(seqmem.Scan(), "cpu"), (seqmem.Parallel(), "cpu"), (CHUNKS, "cpu"), (CHUNKS, "gpu")]


@pytest.mark.parametrize(("method", "platform"), WAYS)  # on a GPU chunks are computed in groups
def test_last_of_equal_gates_has_the_gradient_of_the_log_scale(method, platform):
    cell = seqmem.MLSTM(3, 4, num_heads=2, key=jax.random.key(0))
    gates = jnp.full(2, 90.0), jnp.ones((2, 3))  # of the first five steps: m_t = max(m_{t−1}, 0)
    cell = eqx.tree_at(lambda cell: (cell.b_f, cell.w_i), cell, gates)
    resets = np.zeros((7, 2), bool)
    resets[3, 1] = True

    def last_log_scale(xs):
        state, _ = seqmem.unroll(cell, None, xs, method=method, resets=resets)
        return state.log_scale.sum()

    with seqmem.target_platform(platform):
        gradient = jax.jit(jax.grad(last_log_scale))(jnp.zeros((7, 2, 3)).at[5:].set(-1))
    np.testing.assert_array_equal(gradient[4], 2)
    np.testing.assert_array_equal(gradient.at[4].set(0), 0)
