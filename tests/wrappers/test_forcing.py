"""Teacher forcing of a state: the wrapper against a loop, and the methods that rest on it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import training
from tests.helpers.linear import linear_rnn
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow

pytestmark = pytest.mark.usefixtures("float64")

KEY = jax.random.key(0)


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def uniform(seed, *shape):
    return np.random.default_rng(seed).uniform(size=shape)


@pytest.mark.parametrize("cell", [seqmem.GRU, seqmem.LRU, slow(seqmem.LSTM), slow(seqmem.MinGRU)])
def test_forced_cell_is_a_loop_that_forces_the_state_before_each_step(cell):
    cell = cell(3, 5, key=KEY)
    init = cell.init_state(2)
    xs = draw(1, 7, 2, 3)
    seeds = range(2, 2 + len(jax.tree.leaves(init)))
    leaves = [draw(seed, 7, 2, 5) for seed in seeds], [uniform(seed, 7, 2, 5) for seed in seeds]
    targets, alphas = (jax.tree.unflatten(jax.tree.structure(init), part) for part in leaves)
    forced = seqmem.Forced(xs, targets, alphas)
    state, ys = seqmem.unroll(seqmem.with_forcing(cell), None, forced)
    expected = init
    for t in range(7):
        expected = jax.tree.map(
            lambda s, target, alpha, t=t: s + (alpha[t] * (target[t] - s)).astype(s.dtype),
            jax.tree.map(np.asarray, expected),
            targets,
            alphas,
        )
        expected, y = jax.vmap(cell)(expected, xs[t])
        np.testing.assert_allclose(ys[t], y, rtol=1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), state, expected)


def test_families_that_a_forced_step_leaves():
    families = [
        seqmem.with_forcing(cell(3, 5, key=KEY)).family.name
        for cell in (seqmem.MinGRU, seqmem.GRU, seqmem.MGU)
    ]
    assert families == ["diagonal", "unstructured", "unstructured"]


@pytest.mark.slow
def test_a_forced_cell_keeps_the_laws():
    seqmem.testing.check_cell(seqmem.with_forcing(seqmem.MinGRU(2, 5, key=KEY)))


def network(hidden=5):
    return seqmem.GRU(1, hidden, key=KEY)


def test_teacher_forced_predicts_from_the_first_entries_of_the_state():
    cell, xs, alphas = network(), draw(1, 7, 2, 3), uniform(2, 6)
    known = jnp.asarray(alphas)  # an array of the caller inside of jit
    predictions = jax.jit(lambda cell: training.teacher_forced(cell, xs, alpha=known))(cell)
    state = jnp.concatenate([xs[0], np.zeros((2, 2))], -1)
    for t in range(6):
        alpha = 1 if t == 0 else alphas[t]
        state = state.at[:, :3].set((1 - alpha) * state[:, :3] + alpha * xs[t])
        state, _ = jax.vmap(cell)(state, jnp.zeros((2, 1)))
        np.testing.assert_allclose(predictions[t], state[:, :3], rtol=1e-12)


def test_teacher_forced_takes_a_trajectory_without_a_batch():
    cell, xs = network(), draw(1, 7, 3)
    predictions = jax.eval_shape(lambda: training.teacher_forced(cell, xs, alpha=0.3))
    assert predictions.shape == (6, 3)


@pytest.mark.slow
def test_teacher_forced_inverts_the_observation_matrix_without_a_gradient():
    cell, xs, B = network(), draw(1, 7, 2, 3), draw(2, 3, 5)
    inputs, inverse = draw(3, 7, 2, 1), np.linalg.pinv(B)
    predict = training.teacher_forced
    predictions = predict(cell, xs, alpha=0.3, observation=B, inputs=inputs)
    state = xs[0] @ inverse.T
    for t in range(6):
        alpha = 1 if t == 0 else 0.3
        state, _ = jax.vmap(cell)((1 - alpha) * state + alpha * xs[t] @ inverse.T, inputs[t])
        np.testing.assert_allclose(predictions[t], state @ B.T, rtol=1e-10)
    grads = jax.grad(lambda B: predict(cell, xs, alpha=1.0, observation=B).sum())(B)
    states, _ = jax.vmap(jax.vmap(cell))(xs[:-1] @ inverse.T, jnp.zeros((6, 2, 1)))
    np.testing.assert_allclose(grads, np.tile(np.asarray(states).sum((0, 1)), (3, 1)), rtol=1e-8)


@pytest.mark.slow
def test_full_forcing_is_one_step_at_a_time_and_none_is_a_free_run():
    cell, xs = network(3), draw(1, 7, 2, 3)
    steps, _ = jax.vmap(jax.vmap(cell))(xs[:-1], jnp.zeros((6, 2, 1)))
    np.testing.assert_allclose(training.teacher_forced(cell, xs, alpha=1), steps, rtol=1e-12)
    _, run = seqmem.unroll(cell, xs[0], jnp.zeros((6, 2, 1)))
    np.testing.assert_allclose(training.teacher_forced(cell, xs, alpha=0), run, rtol=1e-12)


@pytest.mark.slow
def test_newton_solves_for_all_steps_of_a_forced_cell():
    cell, xs = network(), draw(1, 31, 2, 3)

    def loss(cell, **options):
        return ((training.teacher_forced(cell, xs, alpha=0.2, **options) - xs[1:]) ** 2).mean()

    expected = jax.value_and_grad(loss)(cell)
    solved = jax.value_and_grad(lambda cell: loss(cell, method=seqmem.Newton()))(cell)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-8), solved, expected)


def test_forcing_alpha_bounds_the_gradient_of_a_chaotic_map():
    """A map that triples every difference: the gradient of the state is 3^t, and 1 with α = 2/3."""
    rotation = np.linalg.qr(draw(1, 3, 3))[0]
    cell, xs = linear_rnn(3 * rotation, hidden_size=3), draw(2, 31, 2, 3)
    alpha = training.forcing_alpha(cell, xs)
    np.testing.assert_allclose(alpha, 2 / 3, rtol=1e-12)
    assert training.forcing_alpha(linear_rnn(0.5 * rotation, hidden_size=3), xs) == 0

    def last(shift, alpha):
        first = jnp.asarray(xs).at[0].add(shift)
        return training.teacher_forced(cell, first, alpha=alpha)[-1, 0]

    norms = [jnp.linalg.norm(jax.jit(jax.jacrev(last))(jnp.zeros(3), a), 2) for a in (0.0, alpha)]
    np.testing.assert_allclose(norms, [3.0**30, 3.0], rtol=1e-10)


@pytest.mark.slow
def test_multiple_shooting_from_the_states_of_a_run_is_that_run():
    cell, xs = network(), draw(1, 12, 2, 1)
    solution = seqmem.solve(cell, None, xs, return_states=True)
    starts = jnp.concatenate([jnp.zeros((1, 2, 5)), solution.states[2:-1:3]])
    shots = training.multiple_shooting(cell, starts, xs)
    np.testing.assert_allclose(shots.outputs, solution.outputs, rtol=1e-12)
    np.testing.assert_allclose(shots.penalty, 0, atol=1e-24)
    moved = training.multiple_shooting(cell, starts.at[2].add(0.1), xs)
    np.testing.assert_allclose(moved.gaps[1], -0.1, rtol=1e-10)
    squares = (np.asarray(moved.gaps) ** 2).sum(-1)
    np.testing.assert_allclose(moved.penalty, squares.mean(), rtol=1e-10)
    np.testing.assert_allclose(moved.outputs[:6], solution.outputs[:6], rtol=1e-12)
    assert training.multiple_shooting(cell, starts[:1], xs).penalty == 0


def test_refusals():
    cell, xs = network(), draw(1, 7, 2, 3)
    predict, shoot = training.teacher_forced, training.multiple_shooting
    for alpha in (-0.1, 1.1, float("nan")):
        assert_refused(f"teacher_forced got alpha={alpha}", predict, cell, xs, alpha=alpha)
    long = "teacher_forced got alpha of shape (7,)"
    assert_refused(long, predict, cell, xs, alpha=np.ones(7))
    lstm = seqmem.LSTM(1, 5, key=KEY)
    assert_refused("teacher_forced got a LSTM with a state", predict, lstm, xs, alpha=1.0)
    assert_refused("teacher_forced got observations", predict, cell, draw(1, 7, 11), alpha=1.0)
    assert_refused("teacher_forced got observations", predict, cell, xs[:1], alpha=1.0)
    matrix = "teacher_forced got an observation matrix of shape (5, 3)"
    assert_refused(matrix, predict, cell, xs, alpha=1.0, observation=draw(1, 5, 3))
    assert_refused("forcing_alpha got observations", training.forcing_alpha, cell, draw(1, 7, 11))
    inputs, starts = draw(1, 12, 2, 1), jnp.zeros((4, 2, 5))
    assert_refused("multiple_shooting got 5 starts", shoot, cell, jnp.zeros((5, 2, 5)), inputs)
    assert_refused("multiple_shooting got starts", shoot, cell, starts[..., :4], inputs)
    assert_refused("multiple_shooting got starts", shoot, cell, starts[:, 0], inputs)
