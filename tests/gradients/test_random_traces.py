"""UORO and KF-RTRL: the mean, the variance and the form of their random traces."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.gradients import KFRTRL, RTRL, UORO, online_bias
from tests.helpers.online import (
    HIDDEN,
    INPUT,
    KEY,
    TIME,
    draw,
    gradient_through_time,
    sum_of_online_gradients,
    trace_of,
)

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize(("algorithm", "least_variance"), [(UORO, 1.0), (KFRTRL, 0.1)])
def test_mean_of_random_traces_is_the_gradient_through_time(algorithm, least_variance):
    """Within three standard errors at 10,000 draws, and with the variance that is reported."""
    cell = seqmem.RNN(2, 3, key=KEY)
    xs, weights = draw(1, 5, 2), draw(2, 5, 1)
    expected = gradient_through_time(cell, xs, weights)

    def vector(gradient):
        return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(gradient)])

    keys = jax.random.split(jax.random.key(1), 10_000)
    online = algorithm(cell, key=KEY)

    @jax.jit
    @jax.vmap
    def draw_gradient(key):
        drawn = eqx.tree_at(lambda online: online.trace_form.key, online, jax.random.key_data(key))
        return vector(sum_of_online_gradients(drawn, xs, weights))

    draws = draw_gradient(keys)
    errors = np.asarray(draws - vector(expected))
    variance = errors.var(0, ddof=1).sum()
    assert np.sum(errors.mean(0) ** 2) < 9 * variance / len(keys)
    norm = np.sum(np.square(vector(expected)))
    assert variance > least_variance * norm  # so that the mean is no accident

    bias = online_bias(lambda ys: jnp.sum(weights * ys**2), num_draws=len(keys))
    report = bias(online, xs, key=jax.random.key(1))
    np.testing.assert_allclose(report.variance, variance / norm, rtol=1e-6)
    np.testing.assert_allclose(
        report.relative, np.linalg.norm(errors.mean(0)) / norm**0.5, rtol=1e-6
    )


@pytest.mark.slow
def test_signs_of_uoro_differ_between_examples_and_keys():
    cell = seqmem.MinGRU(INPUT, 40, key=KEY)
    xs = draw(1, 1, 2, INPUT)

    @jax.jit
    def signs(key):
        return jnp.sign(seqmem.unroll(UORO(cell, key=key), None, xs)[0].trace.a)

    first, other = signs(jax.random.key(0)), signs(jax.random.key(1))
    for a, b in [(first[0], first[1]), (first[0], other[0])]:
        assert 0 < np.sum(a == b) < 40
    np.testing.assert_array_equal(first, signs(jax.random.key(0)))


@pytest.mark.slow
@pytest.mark.parametrize("make", [seqmem.RNN, seqmem.LSTM, seqmem.GRU])
def test_variance_of_kf_rtrl_is_below_that_of_uoro(make):
    cell, xs = make(INPUT, HIDDEN, key=KEY), draw(1, 2 * TIME, INPUT)
    bias = online_bias(lambda ys: jnp.sum(ys[-1] ** 2), num_draws=300)
    kronecker, rank_one = (
        bias(algorithm(cell, key=KEY), xs, key=jax.random.key(1)) for algorithm in (KFRTRL, UORO)
    )
    assert 0 < kronecker.variance < rank_one.variance / 2
    assert kronecker.cosine > rank_one.cosine


@pytest.mark.slow
def test_traces_of_biases_are_exact_and_those_of_matrices_are_products():
    cell, xs = seqmem.GRU(INPUT, HIDDEN, key=KEY), draw(1, TIME, INPUT)
    online = KFRTRL(cell, key=KEY)
    assert online.trace_form.is_matrix == (True, True, False, False)  # W, U, b, c
    trace, expected = trace_of(online, xs), trace_of(RTRL(cell), xs)
    for name in ("b", "c"):
        np.testing.assert_allclose(getattr(trace, name), getattr(expected, name), rtol=1e-10)
    for matrix in (trace.W, trace.U):
        assert np.linalg.matrix_rank(matrix.reshape(-1, matrix.shape[-1])) == 1
    # U of the candidate multiplies r ∘ h, and that of the gates h: two vectors.
    assert KFRTRL(seqmem.ResetBeforeGRU(INPUT, HIDDEN, key=KEY), key=KEY).trace_form.is_matrix == (
        True,
        False,
        False,
    )
