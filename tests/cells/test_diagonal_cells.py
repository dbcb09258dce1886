"""Gated linear recurrences against other forms of themselves; their gates; their initial values.

Sources: Feng et al. 2024, arXiv:2410.01201, appendix B (log space); De et al. 2024,
arXiv:2402.19427; Orvieto et al. 2023, arXiv:2303.06349 (normalisation).
"""

import functools
import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.nn import softplus
from jax.scipy.linalg import block_diag

import seqmem
from seqmem._cells.diagonal.rg_lru import root
from tests.helpers.refusals import assert_refused

TIME, INPUT, HIDDEN = 11, 3, 5
KEY = jax.random.key(0, impl="unsafe_rbg")  # the default kind takes long to compile
REFERENCE = pathlib.Path(__file__).parent.parent / "reference" / "rglru.npz"
WIDTHS = {"SRU": (HIDDEN,), "RGLRU": (HIDDEN,)}
every_gated_average = pytest.mark.parametrize("name", ["GILR", "QRNN", "SRU", "MinLSTM"])


@functools.cache
def make(name):
    return getattr(seqmem, name)(*WIDTHS.get(name, (INPUT, HIDDEN)), key=KEY)


def drawn(name, seed):
    """All parameters random, so that gates lie anywhere in [0, 1]."""
    rng = np.random.default_rng(seed)
    shapes = eqx.filter_eval_shape(make.__wrapped__, name)
    return jax.tree.map(lambda leaf: jnp.asarray(3 * rng.standard_normal(leaf.shape)), shapes)


def with_constant_gates(cell, **biases):
    """The cell with gates that depend on their biases alone."""
    for name, b in biases.items():
        cell = seqmem.with_gate(cell, name, W=0.0, b=b)
    return cell


def numbers(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


# Other forms


def pre_activations(cell, x, *names):
    """W x + b of the given gates."""
    return [gate.W @ x + gate.b for gate in (seqmem.gate(cell, name) for name in names)]


def min_gru_in_logs(cell, x):
    """(ln a, ln b) of h_t = a ∘ h_{t−1} + b."""
    z, c = pre_activations(cell, x, "update", "candidate")
    return -softplus(z), -softplus(-z) + jnp.log(c)


def min_lstm_in_logs(cell, x):
    f, i, c = pre_activations(cell, x, "forget", "input", "candidate")
    log_ratio = softplus(-f) - softplus(-i)
    return -softplus(log_ratio), -softplus(-log_ratio) + jnp.log(c)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("name", "logs"), [("MinGRU", min_gru_in_logs), ("MinLSTM", min_lstm_in_logs)]
)
def test_minimal_cell_matches_its_parallel_form_in_log_space(name, logs):
    """With positive candidates, so that all states are positive."""
    cell = drawn(name, 0)
    candidate = seqmem.gate(cell, "candidate")
    cell = seqmem.with_gate(cell, "candidate", W=abs(candidate.W), b=abs(candidate.b))
    xs, start = abs(numbers(1, TIME, INPUT)), abs(numbers(2, HIDDEN))
    weights = numbers(3, TIME, HIDDEN)

    def stepwise(cell, start, xs):
        return seqmem.unroll(cell, start, xs)[1]

    def in_log_space(cell, start, xs):
        log_a, log_b = jax.vmap(logs, (None, 0))(cell, xs)
        log_decay = jnp.cumsum(log_a, 0)
        terms = jnp.concatenate([jnp.log(start)[None], log_b - log_decay])
        return jnp.exp(log_decay + jax.lax.cumlogsumexp(terms)[1:])

    def both(run):
        value, pull = jax.vjp(run, cell, start, xs)
        return value, pull(weights)

    left, right = (
        jax.tree.leaves(jax.jit(both, static_argnums=0)(r)) for r in (stepwise, in_log_space)
    )
    for leaf, expected in zip(left, right, strict=True):
        np.testing.assert_allclose(leaf, expected, rtol=1e-10, atol=1e-10)


def reference_cell(stored, prefix=""):
    """recurrentgemma's parameters, or their gradients, as an RGLRU."""
    cell = eqx.filter_eval_shape(seqmem.RGLRU, len(stored["a_param"]), key=KEY)
    cell = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), cell)
    for name, gate in {"recurrence": "a_gate", "input": "input_gate"}.items():
        W, b = (stored[f"{prefix}{gate}_{leaf}"] for leaf in ("w", "b"))
        cell = seqmem.with_gate(cell, name, W=block_diag(*W.transpose(0, 2, 1)), b=b.ravel())
    Lambda = jnp.asarray(-stored[f"{prefix}a_param"])  # ln σ(Λ) = −softplus(−Λ)
    return jax.tree.map(lambda leaf: Lambda if leaf is cell.Lambda else leaf, cell)


@pytest.mark.usefixtures("float64")
def test_rg_lru_matches_recurrentgemma():
    stored = np.load(REFERENCE)
    cell = reference_cell(stored)
    run = cell, jnp.asarray(stored["state"]), jnp.asarray(stored["xs"])
    ys, pull = jax.vjp(lambda *run: seqmem.unroll(*run)[1], *run)
    np.testing.assert_allclose(ys, stored["onward"], rtol=0, atol=1e-12)

    d_cell, d_state, d_xs = pull(jnp.asarray(stored["weights"]))
    blocks = block_diag(*np.ones_like(stored["a_gate_w"]))  # its matrices are block-diagonal
    expected = reference_cell(stored, "d_")
    np.testing.assert_allclose(d_cell.W * blocks, expected.W, rtol=0, atol=1e-10)
    np.testing.assert_allclose(d_cell.b, expected.b, rtol=0, atol=1e-10)
    np.testing.assert_allclose(d_cell.Lambda, expected.Lambda, rtol=0, atol=1e-10)
    np.testing.assert_allclose(d_state, stored["d_state"], rtol=0, atol=1e-10)
    np.testing.assert_allclose(d_xs, stored["d_xs"], rtol=0, atol=1e-10)


@pytest.mark.usefixtures("float64")
def test_rg_lru_differs_from_recurrentgemma_in_the_gain_of_the_first_input_alone():
    stored = np.load(REFERENCE)
    cell, xs = reference_cell(stored), jnp.asarray(stored["xs"])
    gate = seqmem.gate(cell, "input")
    first = jax.nn.sigmoid(gate.W @ xs[0] + gate.b) * xs[0]
    np.testing.assert_allclose(stored["anew"][0], first, rtol=0, atol=1e-12)
    _, ys = seqmem.unroll(cell, first, xs[1:])
    np.testing.assert_allclose(ys, stored["anew"][1:], rtol=0, atol=1e-12)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("x", "slope"), [(0.0, 1000.0), (1e-12, 1000.0), (4e-6, 250.0), (0.25, 1.0)]
)
def test_rg_lru_root_is_exact_and_its_slope_is_bounded_in_both_modes(x, slope):
    assert root(x) == np.sqrt(x)
    np.testing.assert_allclose(jax.grad(root)(x), slope, rtol=1e-12)
    np.testing.assert_allclose(jax.jvp(root, (x,), (1.0,))[1], slope, rtol=1e-12)
    assert np.isfinite(jax.grad(jax.grad(root))(x))


@pytest.mark.parametrize("closed", [-20.0, -200.0])  # −200: r is 0 in float32, and a is 1
def test_rg_lru_gradients_are_finite_where_the_decay_is_1(closed):
    cell = with_constant_gates(make("RGLRU"), recurrence=closed)
    xs = jnp.ones((2, HIDDEN))
    grads = jax.grad(lambda cell: jnp.sum(seqmem.unroll(cell, jnp.ones(HIDDEN), xs)[1]))(cell)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


# Gates


@every_gated_average
def test_forget_gate_of_1_keeps_the_state_and_of_0_takes_the_candidate(name):
    cell, start = with_constant_gates(make(name), candidate=0.5), jnp.full(HIDDEN, 0.25)
    candidate = np.tanh(0.5) if name in ("GILR", "QRNN") else 0.5
    for b, expected in ((100.0, start), (-100.0, candidate)):
        cell = with_constant_gates(cell, forget=b)
        if name == "MinLSTM":
            cell = with_constant_gates(cell, input=-b)
        state, _ = cell(start, jnp.ones(cell.input_shape))
        np.testing.assert_allclose(state, expected, rtol=1e-6)


def test_output_reset_and_input_gates_do_what_their_names_say():
    start, x = jnp.full(HIDDEN, 0.25), jnp.arange(1.0, 1 + HIDDEN)
    qrnn = with_constant_gates(make("QRNN"), output=-200.0)
    np.testing.assert_array_equal(qrnn(start, x[:INPUT])[1], 0)
    sru = make("SRU")
    np.testing.assert_array_equal(with_constant_gates(sru, reset=-200.0)(start, x)[1], x)
    np.testing.assert_array_equal(*with_constant_gates(sru, reset=200.0)(start, x))
    rg_lru = with_constant_gates(make("RGLRU"), input=-200.0)
    np.testing.assert_array_equal(
        with_constant_gates(rg_lru, recurrence=-200.0)(start, x)[0], start
    )
    state, _ = with_constant_gates(rg_lru, recurrence=200.0)(start, x)  # a is then σ(Λ)⁸
    np.testing.assert_allclose(state, start * jax.nn.sigmoid(rg_lru.Lambda) ** 8, rtol=1e-5)


@every_gated_average
def test_gate_near_1_is_not_rounded_to_1_with_parameters_in_16_bits(name):
    time = 1009
    cell = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), make(name))
    cell = with_constant_gates(cell, forget=8.0, candidate=0.0)
    if name == "MinLSTM":
        cell = with_constant_gates(cell, input=-8.0)
    state, _ = seqmem.unroll(cell, jnp.ones(HIDDEN), jnp.zeros((time, *cell.input_shape)))
    np.testing.assert_allclose(state, jax.nn.sigmoid(8.0) ** time, rtol=1e-3)  # 0.71


def test_min_lstm_normalises_two_gates_that_underflow():
    """σ(−200) is 0 in float32, but f' = 1/(1 + i/f) depends on the ratio alone."""
    cell = with_constant_gates(make("MinLSTM"), forget=-200.0, input=-201.0)
    state, slope = jax.jvp(lambda h: cell(h, jnp.ones(INPUT))[0], [jnp.zeros(5)], [jnp.ones(5)])
    np.testing.assert_allclose(slope, 1 / (1 + np.exp(-1)), rtol=1e-5)
    assert jnp.isfinite(state).all()


def test_chrono_biases_give_a_min_lstm_the_forget_gate_of_an_lstm():
    """f = 1 − 1/T and i = 1/T are normalised already."""
    cell = seqmem.with_chrono_bias(make("MinLSTM"), 101, key=KEY)
    _, slope = jax.jvp(lambda h: cell(h, jnp.zeros(INPUT))[0], [jnp.zeros(5)], [jnp.ones(5)])
    np.testing.assert_allclose(slope, jax.nn.sigmoid(seqmem.gate(cell, "forget").b), rtol=1e-6)


def test_hgrn_state_decays_by_the_lower_bound_and_rotates_where_its_gates_are_0():
    cell = seqmem.HGRN(INPUT, HIDDEN, lower_bound=0.75, key=KEY)
    gates = {"forget": -200.0, "output real": -200.0, "output imaginary": -200.0}
    cell = with_constant_gates(cell, **gates, real=0.0, imaginary=0.0)
    start = jnp.full(HIDDEN, 1 + 2j, jnp.complex64)
    state, ys = seqmem.unroll(cell, start, jnp.ones((TIME, INPUT)))
    factor = 0.75 * np.exp(1j * np.asarray(cell.theta))
    np.testing.assert_allclose(state, factor**TIME * np.asarray(start), rtol=1e-5)
    assert cell.theta[0] == 1  # the largest frequency: one radian per step
    np.testing.assert_array_equal(ys, 0)


@pytest.mark.parametrize("lower_bound", [0.0, 1.0, float("nan")])
def test_hgrn_refuses_a_lower_bound_outside_of_0_1(lower_bound):
    message = f"HGRN got lower_bound={lower_bound}."
    assert_refused(message, seqmem.HGRN, INPUT, HIDDEN, lower_bound=lower_bound, key=KEY)


# Initial values


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_lru_states_have_the_variance_of_their_inputs_for_white_noise():
    """γ = √(1 − |λ|²): Var s = Σ_k |λ^k γ B|² = |B|², the variance of B x, row by row; and that is
    the variance of an input, in the mean over B.
    """
    inputs, units = 7, 211
    cell = seqmem.LRU(inputs, units, r_min=0.5, r_max=0.9, key=KEY)
    variances = (cell.B**2).sum((0, -1))
    impulses = np.zeros((211, inputs, inputs))
    impulses[0] = np.eye(inputs)
    responses = seqmem.solve(cell, None, impulses, return_states=True).states
    np.testing.assert_allclose((abs(responses) ** 2).sum((0, 1)), variances, rtol=1e-12)
    assert abs(variances.mean() - 1) < 4 / np.sqrt(inputs * units)  # |B|² varies by 1/inputs
    products = responses[1] * responses[0].conj()
    assert (products.real < 0).any()  # no gate in [0, 1] changes the sign of a state


def test_lru_eigenvalues_lie_on_the_ring_and_below_the_phase():
    cell = seqmem.LRU(1, 2003, r_min=0.5, r_max=0.9, max_phase=1.0, key=KEY)
    eigenvalues = np.asarray(cell.eigenvalues())
    radii, phases = abs(eigenvalues), np.angle(eigenvalues)
    assert 0.5 - 1e-6 < radii.min() < 0.51
    assert 0.89 < radii.max() < 0.9 + 1e-6
    assert 0 < phases.min() < 0.01
    assert 0.99 < phases.max() < 1
    squares = (radii**2 - 0.25) / (0.81 - 0.25)  # uniform in area
    np.testing.assert_allclose(
        np.quantile(squares, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.05
    )
