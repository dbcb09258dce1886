"""SnAp, e-prop, RFLO, UORO and KF-RTRL against what they are by definition."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.gradients import KFRTRL, RFLO, RTRL, UORO, EProp, SnAp, online_bias
from tests.helpers.online import (
    assert_close,
    gradient_through_time,
    sum_of_online_gradients,
)
from tests.helpers.slow import slow

TIME, INPUT, HIDDEN = 7, 3, 5
KEY = jax.random.key(0)

pytestmark = pytest.mark.usefixtures("float64")


def draw(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


class Cut(seqmem.AbstractCell):
    """A gated cell whose recurrent product passes no gradient to the state."""

    cell: seqmem.AbstractGatedCell

    @property
    def input_shape(self):
        return self.cell.input_shape

    def init_state(self):
        return self.cell.init_state()

    def project(self, x):
        return self.cell.project(x)

    def update(self, state, drive):
        return self.cell.gate(state, self.cell.mix(jax.lax.stop_gradient(state), drive))

    def readout(self, state, drive):
        return self.cell.readout(state, drive)


class Counter(seqmem.AbstractCell):
    """A state without a derivative."""

    def init_state(self):
        return jnp.zeros((), jnp.int32)

    def project(self, x):
        return x

    def update(self, state, drive):
        return state + 1

    def readout(self, state, drive):
        return state


def trace_of(online, xs):
    """The trace after a run, complete: for each parameter [n, *p]."""
    traced, _ = seqmem.unroll(online, None, xs)
    rows = jnp.eye(jax.tree.leaves(traced.state)[0].size)
    return jax.vmap(lambda row: online.gradient(traced, row))(rows)


DIAGONAL = {
    "MinGRU": lambda: seqmem.MinGRU(INPUT, HIDDEN, key=KEY),
    "LRU": lambda: seqmem.LRU(INPUT, HIDDEN, key=KEY),
    "RTU": lambda: seqmem.RTU(INPUT, HIDDEN, key=KEY),
    "MinLSTM": lambda: seqmem.MinLSTM(INPUT, HIDDEN, key=KEY),
    "learned MinGRU": lambda: seqmem.with_learned_state(
        seqmem.MinGRU(INPUT, HIDDEN, key=KEY), jnp.linspace(0.1, 0.7, HIDDEN)
    ),
}


@pytest.mark.parametrize("name", ["MinGRU", *map(slow, list(DIAGONAL)[1:])])
def test_snap_1_of_a_diagonal_cell_is_the_gradient_through_time(name):
    cell = DIAGONAL[name]()
    xs, weights = draw(1, TIME, INPUT), draw(2, TIME, 1)
    expected = gradient_through_time(cell, xs, weights)
    assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(expected))
    assert_close(sum_of_online_gradients(SnAp(cell), xs, weights), expected)


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, slow(1), slow(3)])
def test_snap_keeps_what_a_parameter_reaches_within_n_steps(n):
    """NumPy's RTRL of h_t = tanh(W x_t + U h_{t−1}), a unit reading the one before, and a mask."""
    U = np.asarray(draw(3, HIDDEN, HIDDEN)) * (np.eye(HIDDEN) + np.eye(HIDDEN, k=-1))
    cell = seqmem.RNN(INPUT, HIDDEN, key=KEY)
    cell = eqx.tree_at(lambda cell: cell.U, cell, jnp.asarray(U))
    xs = draw(1, TIME, INPUT)

    reached = np.eye(HIDDEN, dtype=bool)
    for _ in range(n - 1):
        reached |= (U != 0) @ reached
    assert not reached.all()
    h, trace = np.zeros(HIDDEN), np.zeros((HIDDEN, HIDDEN, HIDDEN))  # of U
    for x in np.asarray(xs):
        previous = h
        h = np.tanh(cell.W @ x + U @ previous)
        direct = np.einsum("i,ij,k->ijk", 1 - h**2, np.eye(HIDDEN), previous)
        trace = np.tensordot((1 - h**2)[:, None] * U, trace, 1) + direct
        trace = trace * reached[:, :, None]

    np.testing.assert_allclose(trace_of(SnAp(cell, n), xs).U, trace, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_snap_n_is_rtrl_where_everything_is_reached():
    cell = seqmem.GRU(INPUT, HIDDEN, key=KEY)
    assert type(SnAp(cell, 2).trace_form) is type(RTRL(cell).trace_form)


@pytest.mark.parametrize(
    "make",
    [
        seqmem.LSTM,
        slow(seqmem.GRU),
        slow(seqmem.AdaptiveLIF),
        slow(lambda *sizes, key: seqmem.LIF(*sizes, is_recurrent=True, key=key)),
    ],
)
def test_e_prop_is_the_gradient_with_the_recurrent_derivative_cut(make):
    cell = make(INPUT, HIDDEN, key=KEY)
    xs, weights = 2 * draw(1, TIME, INPUT), draw(2, TIME, 1)
    expected = gradient_through_time(Cut(cell), xs, weights).cell
    gradient = sum_of_online_gradients(EProp(cell), xs, weights)
    assert_close(gradient, expected)
    full = gradient_through_time(cell, xs, weights)
    assert np.abs(full.U - expected.U).max() > 1e-3


@pytest.mark.slow
def test_rflo_of_leaky_units_is_murrays_rule():
    tau = 5.0
    cell = seqmem.LeakyRNN(INPUT, HIDDEN, time_constants=tau, dt=1.0, activation=jnp.tanh, key=KEY)
    xs, errors, B = draw(1, TIME, INPUT), draw(2, TIME, HIDDEN), draw(3, HIDDEN, HIDDEN)
    online = RFLO(cell, B)

    def gradient_of_run(traced, inputs):
        x, error = inputs
        traced, _ = online(traced, x)
        return traced, online.output_gradient(traced, x, error).U

    gradient = jax.lax.scan(gradient_of_run, online.init_state(), (xs, errors))[1].sum(0)

    leak = np.exp(-1 / tau)
    h, trace, expected = np.zeros(HIDDEN), np.zeros((HIDDEN, HIDDEN)), np.zeros((HIDDEN, HIDDEN))
    for x, error in zip(np.asarray(xs), np.asarray(errors), strict=True):
        z = np.tanh(cell.W @ x + cell.U @ h)
        trace = leak * trace + (1 - leak) * np.outer(1 - z**2, h)
        h = leak * h + (1 - leak) * z
        expected += (B @ error)[:, None] * trace
    np.testing.assert_allclose(gradient, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_rflo_with_the_weights_of_the_readout_is_e_prop():
    cell = seqmem.RNN(INPUT, HIDDEN, output_size=2, key=KEY)
    xs, weights = draw(1, TIME, INPUT), draw(2, TIME, 1)
    symmetric = sum_of_online_gradients(EProp(cell), xs, weights)
    assert_close(sum_of_online_gradients(RFLO(cell, cell.V.T), xs, weights), symmetric)
    other = sum_of_online_gradients(RFLO(cell, -cell.V.T), xs, weights)
    assert_close((-other.U, other.V), (symmetric.U, symmetric.V))


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


ONLINE = {
    "SnAp": SnAp,
    "EProp": EProp,
    "RFLO": lambda cell: RFLO(cell, draw(5, HIDDEN, HIDDEN)),
    "UORO": lambda cell: UORO(cell, key=KEY),
    "KFRTRL": lambda cell: KFRTRL(cell, key=KEY),
}


@pytest.mark.parametrize("name", ["SnAp", *map(slow, ("EProp", "RFLO", "UORO", "KFRTRL"))])
def test_reset_clears_the_trace(name):
    online = ONLINE[name](seqmem.GRU(INPUT, HIDDEN, key=KEY))
    x = draw(1, TIME, INPUT)
    xs = jnp.stack([x, jnp.roll(x, -4, 0), x], 1)  # with a reset, from there on, without it
    resets = np.zeros((TIME, 3), bool)
    resets[4, 0] = True

    @jax.jit
    def gradients(online):
        traced, _ = seqmem.unroll(online, None, xs, resets=resets, lengths=np.array([7, 3, 7]))
        return jax.vmap(online.gradient)(traced, jnp.ones((3, HIDDEN)))

    for after_reset, from_start, without in jax.tree.leaves(gradients(online)):
        np.testing.assert_allclose(after_reset, from_start, rtol=1e-10, atol=1e-10)
        assert np.abs(without - from_start).max() > 1e-6


def test_parameters_are_trained_within_a_scan():
    xs = draw(1, 50, INPUT)
    targets = xs.sum(1, keepdims=True) / 5

    @jax.jit
    def train(online):
        def step(carry, inputs):
            online, traced = carry
            x, target = inputs
            traced, y = online(traced, x)
            gradient = online.output_gradient(traced, x, y - target)
            cell = jax.tree.map(lambda p, d: p - 0.1 * d, online.cell, gradient)
            online = eqx.tree_at(lambda online: online.cell, online, cell)
            return (online, traced), jnp.sum((y - target) ** 2)

        carry = (online, online.init_state())
        return jax.lax.scan(step, carry, (xs, targets))[1]

    losses = train(SnAp(seqmem.MinGRU(INPUT, HIDDEN, key=KEY)))
    assert losses[-10:].mean() < 0.5 * losses[:10].mean()


@pytest.mark.slow
def test_tokens_are_read_off_the_given_inputs():
    embedded = seqmem.layers.Stack(
        [seqmem.layers.Embedding(7, INPUT, key=KEY), seqmem.MinGRU(INPUT, HIDDEN, key=KEY)]
    )
    xs = jnp.asarray([3, 1, 6, 0, 2, 5, 4])
    expected = gradient_through_time(embedded, xs, jnp.ones((7, 1)))
    online = SnAp(embedded, xs=jnp.arange(7))
    assert_close(sum_of_online_gradients(online, xs, jnp.ones((7, 1))), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SnAp", "UORO", "KFRTRL"])
def test_online_cells_obey_the_laws_of_a_cell(name):
    online = ONLINE[name](seqmem.MGU(2, 3, key=KEY))
    seqmem.testing.check_cell(online, methods=[seqmem.ReferenceScan()])


def gru():
    return seqmem.GRU(INPUT, HIDDEN, key=KEY)


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda: SnAp(gru(), 0), "n=0"),
        (lambda: SnAp(Counter()), "int32"),
        (lambda: UORO(Counter(), key=KEY), "int32"),
        (lambda: jax.jit(SnAp)(gru()), "traced"),
        (lambda: KFRTRL(Counter(), key=KEY), "int32"),
        (lambda: KFRTRL(seqmem.layers.Embedding(7, 3, key=KEY), key=KEY), "tokens"),
        (lambda: SnAp(seqmem.layers.Embedding(7, 3, key=KEY)), "tokens"),
        (lambda: RTRL(seqmem.RNN(3, 5, recurrent=seqmem.Orthogonal(), key=KEY)), "computed"),
        (lambda: EProp(seqmem.MinGRU(INPUT, HIDDEN, key=KEY)), "diagonal"),
        (lambda: RFLO(seqmem.layers.Stack([gru()]), draw(0, 5, 5)), "composite"),
        (lambda: RFLO(gru(), draw(0, 5, 4)), r"\(5, 4\)"),
        (lambda: online_bias(jnp.sum, num_draws=1), "num_draws=1"),
        (lambda: online_bias(jnp.sum)(gru(), draw(0, 2, 3)), "GRU"),
        (lambda: online_bias(jnp.sum)(UORO(gru(), key=KEY), draw(0, 2, 3)), "key"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_refused(call, part):
    with pytest.raises(ValueError, match=rf"(?s){part}.*Expected:.*What to do:"):
        call()
