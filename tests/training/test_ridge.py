"""Ridge regression in closed form: least squares, sums over chunks, memory, and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import training
from seqmem.training._least_squares import ridge_solution
from tests.helpers.refusals import assert_refused

key = jax.random.key(0)
TIME, BATCH, STATES, TARGETS = 23, 3, 5, 2


def draw(offset=0.0):
    rng = np.random.default_rng(5)
    states = rng.standard_normal((TIME, BATCH, STATES)) + offset
    return states, rng.standard_normal((TIME, BATCH, TARGETS))


def least_squares(states, targets, alpha):
    """The rows of the problem one below the other, with √α W = 0 at the end; b has no penalty."""
    rows = states.reshape(-1, STATES)
    A = np.hstack([rows, np.ones((len(rows), 1))])
    penalty = np.sqrt(alpha) * np.eye(STATES, STATES + 1)
    Y = np.vstack([targets.reshape(-1, TARGETS), np.zeros((STATES, TARGETS))])
    solution = np.linalg.lstsq(np.vstack([A, penalty]), Y)[0]
    return solution[:-1].T, solution[-1]


def assert_is(readout, W, b, atol=1e-12):
    np.testing.assert_allclose(readout.weight, W, rtol=0, atol=atol)
    np.testing.assert_allclose(readout.bias, b, rtol=0, atol=atol)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("alpha", [0.0, 1.7])
def test_ridge_readout_is_least_squares_with_a_penalty(alpha):
    states, targets = draw(offset=2.0)
    readout = training.ridge_readout(states, targets, washout=4, alpha=alpha)
    assert_is(readout, *least_squares(states[4:], targets[4:], alpha))
    assert (readout.in_features, readout.out_features) == (STATES, TARGETS)


@pytest.mark.usefixtures("float64")
def test_sums_of_chunks_are_those_of_the_whole():
    states, targets = draw(offset=2.0)
    sums = training.RidgeSums.zeros(STATES, TARGETS)
    for start, end in ((0, 1), (1, 1), (1, 9), (9, TIME)):  # the second chunk is empty
        sums = sums.add(states[start:end], targets[start:end])
    assert sums.count == TIME * BATCH
    assert_is(sums.solve(0.3), *least_squares(states, targets, 0.3))


@pytest.mark.usefixtures("float64")
def test_derivative_of_a_ridge_solution_is_that_of_the_normal_equations():
    rng = np.random.default_rng(7)
    (A, dA), (B, dB) = rng.standard_normal((2, 7, 5)), rng.standard_normal((2, 7, 2))
    alpha, d_alpha = np.float64(0.3), np.float64(0.7)
    X, dX = jax.jvp(ridge_solution, (A, B, alpha), (dA, dB, d_alpha))
    H = A.T @ A + alpha * np.eye(5)
    dH = dA.T @ A + A.T @ dA + d_alpha * np.eye(5)
    np.testing.assert_allclose(X, np.linalg.solve(H, A.T @ B), atol=1e-12)
    expected = np.linalg.solve(H, dA.T @ B + A.T @ dB - dH @ np.asarray(X))
    np.testing.assert_allclose(dX, expected, atol=1e-12)


def test_sums_keep_their_digits_where_the_mean_is_large():
    """In float32 s² of 1000 ± 1 has an error of 0.06."""
    states, targets = draw(offset=1000.0)
    states = states.astype(np.float32)
    sums = training.RidgeSums.zeros(STATES, TARGETS)
    for start in range(0, TIME, 7):
        sums = sums.add(states[start : start + 7], targets[start : start + 7])
    W, _ = least_squares(states.astype(np.float64), targets, 0.3)
    np.testing.assert_allclose(sums.solve(0.3).weight, W, rtol=0, atol=2e-4)


@pytest.mark.usefixtures("float64")
def test_states_that_repeat_each_other_have_the_solution_of_least_norm():
    states, targets = draw()
    states[..., -1] = states[..., 0]
    readout = training.ridge_readout(states, targets, alpha=0.0)
    assert_is(readout, *least_squares(states, targets, 0.0))
    np.testing.assert_allclose(readout.weight[:, 0], readout.weight[:, -1], rtol=0, atol=1e-12)


def nearly_collinear():
    """States that vary by 10 in one direction, by 1e-5 in the last one, and what they predict."""
    rng = np.random.default_rng(3)
    left, _ = np.linalg.qr(rng.standard_normal((TIME * BATCH, STATES)))
    right, _ = np.linalg.qr(rng.standard_normal((STATES, STATES)))
    states = (left * np.logspace(1, -5, STATES)) @ right
    return states, states @ right.T @ np.logspace(-1, 4, STATES)[:, None].repeat(TARGETS, 1)


@pytest.mark.usefixtures("float64")
def test_penalty_alone_decides_about_directions_in_which_states_hardly_vary():
    """α is below the rounding of the states' products, 1e-13, and σ² is 1e-10."""
    states, targets = nearly_collinear()
    readout = training.ridge_readout(states, targets, alpha=1e-14)
    W, b = least_squares(states, targets, 1e-14)
    scale = np.abs(W).max()
    np.testing.assert_allclose(readout.weight, W, rtol=0, atol=1e-9 * scale)
    np.testing.assert_allclose(readout.bias, b, rtol=0, atol=1e-9 * scale)


def test_directions_of_rounding_are_left_out_only_without_a_penalty():
    R = jnp.array([[1.0, 0, 3], [0, 1e-8, 2e-8], [0, 0, 5]])
    sums = training.RidgeSums(jnp.array(9.0), jnp.zeros(2), jnp.zeros(1), R)
    np.testing.assert_allclose(sums.solve(1e-16).weight, [[3, 1]], rtol=1e-5)
    np.testing.assert_allclose(sums.solve(0.0).weight, [[3, 0]], rtol=1e-5)


def test_float32_keeps_directions_that_products_of_states_lose():
    """σ² = 1e-10 beside 1e2: products of float32 end at 1e-5."""
    states, targets = nearly_collinear()
    readout = training.ridge_readout(
        states.astype(np.float32), targets.astype(np.float32), alpha=1e-9
    )
    W, b = least_squares(states, targets, 1e-9)
    error = states @ (np.asarray(readout.weight) - W).T + np.asarray(readout.bias) - b
    assert np.abs(error).max() < 1e-3 * np.abs(targets).max()


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_derivative_of_a_readout_is_exact_where_states_repeat_each_other(alpha):
    """In forward and reverse mode, and in chunks of fewer steps than states."""
    states, targets = draw(offset=2.0)
    factor = np.array([1.0, 0.7])

    def twice(states, factor):
        return jnp.concatenate([states, states[..., :2] * factor], -1)

    def solution(states, targets, factor, alpha):
        sums = training.RidgeSums.zeros(STATES + 2, TARGETS)
        for start in range(0, 9, 3):
            rows = twice(states, factor)[start : start + 3, 0]
            sums = sums.add(rows, targets[start : start + 3, 0])
        readout = sums.solve(alpha)
        return readout.weight, readout.bias

    def by_inverse(states, targets, factor, alpha):
        S, Y = twice(states, factor)[:9, 0], targets[:9, 0]
        d_S, d_Y = S - S.mean(0), Y - Y.mean(0)
        W = (jnp.linalg.pinv(d_S) @ d_Y).T
        if alpha:
            W = jnp.linalg.solve(d_S.T @ d_S + alpha * jnp.eye(STATES + 2), d_S.T @ d_Y).T
        return W, Y.mean(0) - W @ S.mean(0)

    args = states, targets, factor, alpha
    got, want = (jax.jacrev(fn, (0, 1, 2))(*args) for fn in (solution, by_inverse))
    forward = jax.jacfwd(solution, (0, 1, 2))(*args)
    for a, b, c in zip(*map(jax.tree.leaves, (got, want, forward)), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10)
        np.testing.assert_allclose(c, b, rtol=0, atol=1e-10)
    if alpha:
        got, want = (jax.jacfwd(fn, 3)(*args) for fn in (solution, by_inverse))
        np.testing.assert_allclose(got[0], want[0], rtol=0, atol=1e-10)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("chunk_size", [1, 5, 100])
def test_fit_readout_is_ridge_readout_of_all_outputs(chunk_size):
    cell = seqmem.EchoState(2, STATES, leak=0.6, key=key)
    rng = np.random.default_rng(1)
    xs, targets = rng.standard_normal((TIME, BATCH, 2)), draw()[1]
    start = rng.standard_normal((BATCH, STATES))
    readout, state = training.fit_readout(
        cell, start, xs, targets, washout=4, alpha=0.1, chunk_size=chunk_size
    )
    expected, outputs = seqmem.unroll(cell, start, xs)
    np.testing.assert_allclose(state, expected, rtol=0, atol=1e-12)
    assert_is(readout, *least_squares(np.asarray(outputs[4:]), targets[4:], 0.1))


@pytest.mark.slow
def test_fit_readout_starts_all_examples_from_one_state():
    cell, xs, targets = seqmem.EchoState(2, STATES, key=key), jnp.ones((7, BATCH, 2)), draw()[1][:7]
    one = jnp.arange(STATES) / STATES
    _, state = training.fit_readout(cell, one, xs, targets)
    expected, _ = seqmem.unroll(cell, jnp.tile(one, (BATCH, 1)), xs)
    np.testing.assert_allclose(state, expected, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.optimised
def test_fit_readout_keeps_no_outputs():
    """A sequence 16 times as long needs the memory of its inputs and targets in addition."""
    cell = seqmem.EchoState(2, 37, key=key)

    def temporaries(time):
        shapes = (jax.ShapeDtypeStruct((time, size), jnp.float32) for size in (2, TARGETS))
        fit = jax.jit(lambda xs, ys: training.fit_readout(cell, None, xs, ys, washout=64)[0].weight)
        return fit.lower(*shapes).compile().memory_analysis().temp_size_in_bytes

    time = 2**14
    added = temporaries(time) - temporaries(time // 16)
    assert added < 4 * time * 37 / 2  # half of the outputs


@pytest.mark.slow
def test_fit_readout_is_differentiable():
    """The readout is a function of the inputs, also through the chunks."""
    cell, targets = seqmem.EchoState(2, STATES, key=key), draw()[1][:7]

    def loss(xs):
        return training.fit_readout(cell, None, xs, targets, chunk_size=3)[0].weight.sum()

    xs = jax.random.normal(key, (7, BATCH, 2))
    direction = jax.random.normal(jax.random.key(1), xs.shape)
    expected = (loss(xs + 1e-2 * direction) - loss(xs - 1e-2 * direction)) / 2e-2
    np.testing.assert_allclose(jnp.vdot(jax.grad(loss)(xs), direction), expected, rtol=0.05)


def test_ridge_regression_refuses_bad_arguments():
    states, targets = draw()
    ridge, fit = training.ridge_readout, training.fit_readout
    assert_refused("ridge_readout got states", ridge, states, targets[:-1])
    assert_refused("ridge_readout got states", ridge, states, targets[..., 0])
    assert_refused("ridge_readout got washout=23", ridge, states, targets, washout=TIME)
    assert_refused("ridge_readout got washout=-1", ridge, states, targets, washout=-1)
    assert_refused("ridge regression got alpha=-1.0", ridge, states, targets, alpha=-1.0)
    sums = training.RidgeSums.zeros(STATES, TARGETS + 1)
    assert_refused("RidgeSums.add got states", sums.add, states, targets)
    cell, xs = seqmem.EchoState(2, 5, key=key), np.ones((TIME, BATCH, 2), np.float32)
    assert_refused("fit_readout got states", fit, cell, None, xs, targets[:-1])
    assert_refused("fit_readout got washout=30", fit, cell, None, xs, targets, washout=30)
    assert_refused("fit_readout got chunk_size=0", fit, cell, None, xs, targets, chunk_size=0)
    weight = lambda s: ridge(s, targets).weight.sum()  # noqa: E731
    assert_refused("a second derivative of ridge", jax.hessian(weight), states.astype(np.float32))
    images = seqmem.ConvGRU((2, 1), 3, key=key)
    came = "fit_readout got a cell with outputs"
    assert_refused(came, fit, images, None, np.ones((TIME, BATCH, 2, 1), np.float32), targets)
