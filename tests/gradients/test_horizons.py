"""Horizons, windows and sensitivity, where the answer is known."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import gradients
from tests.helpers.cells import CELLS

TIME, INPUT, HIDDEN = 32, 2, 5

pytestmark = pytest.mark.usefixtures("float64")


def draw(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def linear(rate):
    """h_t = rate · h_{t−1} + W x_t: the gradient at lag k is rate^k of that at lag 0."""
    cell = seqmem.RNN(INPUT, HIDDEN, activation=lambda z: z, key=jax.random.key(0))
    return eqx.tree_at(lambda cell: cell.U, cell, rate * jnp.eye(HIDDEN))


def last(cell, xs, **options):
    state, _ = seqmem.unroll(cell, cell.init_state(), xs, **options)
    return state.sum()


def test_horizons_of_a_power_are_known():
    rate = np.exp(-1 / 5)
    _, _, flow = gradients.value_grad_and_flow(last)(linear(rate), draw(1, TIME, INPUT))
    found = gradients.gradient_horizons(
        gradients.by_lag(flow.norm()), fraction=np.exp(-1) * (1 + 1e-9)
    )
    np.testing.assert_allclose(found.decay, 5)
    np.testing.assert_allclose(found.half_life, 5 * np.log(2), rtol=1e-10)
    sums = np.cumsum(rate ** np.arange(TIME))
    np.testing.assert_allclose(found.mass, np.argmax(sums >= 0.99 * sums[-1]))


def test_a_gradient_that_does_not_fall_has_no_horizon():
    curve = jnp.stack([2.0 ** jnp.arange(9.0), jnp.full(9, jnp.inf)], 1)
    found = gradients.gradient_horizons(curve)
    np.testing.assert_array_equal(found.decay, [np.inf, np.nan])
    np.testing.assert_allclose(found.half_life, [-1, np.nan])


@pytest.mark.parametrize(
    "ask",
    [
        lambda: gradients.gradient_horizons(jnp.ones(3), epsilon=1.0),
        lambda: gradients.gradient_horizons(jnp.ones((0, 2))),
        lambda: gradients.truncation_bias(last, 0),
        lambda: gradients.recommend_window(last, linear(0.5), [], time=3),
        lambda: gradients.recommend_window(last, linear(0.5), [(draw(1, 3, 2),)], time=3, bias=2.0),
        lambda: dynamics.drift(linear(0.5), jnp.zeros(HIDDEN), draw(1, 5, INPUT), 3),
        lambda: dynamics.burn_in(
            linear(0.5), jnp.zeros(HIDDEN), jnp.ones(HIDDEN), draw(1, 5, INPUT), epsilon=0.0
        ),
    ],
)
def test_what_makes_no_sense_is_refused(ask):
    with pytest.raises(ValueError, match=r"(?s)Expected: .*What to do: "):
        ask()


def test_a_gradient_that_is_not_finite_has_no_window():
    batch = (1e200 * jnp.ones((TIME, INPUT)),)
    with pytest.raises(ValueError, match="whole gradient is not finite"):
        gradients.recommend_window(last, linear(1e200), [batch], time=TIME)


def test_bias_of_a_window_is_that_of_the_cut_sum():
    rate = 0.8
    xs = draw(1, TIME, INPUT)

    def weight(cell):
        return jax.grad(last)(cell, xs).W

    # The last loss sees W through x_{T−k} rate^k; a window of 5 keeps the steps since t = 30.
    cell = linear(rate)
    whole = (rate ** np.arange(TIME)[::-1]) @ np.asarray(xs)
    kept = (rate ** np.arange(2)[::-1]) @ np.asarray(xs)[30:]
    np.testing.assert_allclose(weight(cell)[0], whole, rtol=1e-12)

    def only_weight(W, xs, method):
        return last(eqx.tree_at(lambda cell: cell.W, cell, W), xs, method=method)

    bias = gradients.truncation_bias(only_weight, 5)(cell.W, xs)
    relative = np.linalg.norm(kept - whole) / np.linalg.norm(whole)
    cosine = kept @ whole / np.linalg.norm(kept) / np.linalg.norm(whole)
    np.testing.assert_allclose(bias.relative, relative, rtol=1e-12)
    np.testing.assert_allclose(bias.cosine, cosine, rtol=1e-12)


def test_the_recommended_window_is_the_smallest_that_keeps_the_bias():
    cell = seqmem.RNN(INPUT, HIDDEN, key=jax.random.key(0))
    cell = eqx.tree_at(lambda cell: cell.U, cell, 0.5 * cell.U)
    batches = [(draw(seed, TIME, 3, INPUT),) for seed in range(4)]

    def loss(cell, xs, method):
        return jnp.mean(seqmem.unroll(cell, cell.init_state(), xs, method=method)[1] ** 2)

    found = gradients.recommend_window(loss, cell, batches, time=TIME, bias=0.05)
    assert 1 < found.window < TIME
    at = dict(zip(found.windows.tolist(), found.bound, strict=True))
    assert at[found.window] <= 0.05 < at[found.window - 1]
    again = gradients.truncation_bias(loss, found.window)(cell, *batches[0])
    place = found.windows.tolist().index(found.window)
    np.testing.assert_allclose(found.relative[place, 0], again.relative, rtol=1e-10)


def test_all_of_time_is_recommended_where_nothing_less_will_do():
    found = gradients.recommend_window(last, linear(1.0), [(draw(1, 8, INPUT),)], time=8, bias=1e-6)
    assert found.window == 8
    np.testing.assert_allclose(found.relative[-1], 0, atol=1e-15)


@pytest.mark.parametrize("name", ["LSTM", "Stack"])
def test_sensitivity_is_a_difference_of_predictions(name):
    cell = CELLS[name]()
    xs = draw(1, TIME, 3, cell.input_size)

    def predict(cell, xs, method):
        return seqmem.unroll(cell, cell.init_state(), xs, method=method)[1]

    direction = gradients.random_direction(jax.random.key(1), cell)
    np.testing.assert_allclose(gradients.tree_norm(direction), 1, rtol=1e-12)
    got = gradients.sensitivity(predict, leading=2)(cell, direction, xs)
    above, below = (
        predict(jax.tree.map(lambda w, d, e=e: w + e * d, cell, direction), xs, None)
        for e in (1e-5, -1e-5)
    )
    np.testing.assert_allclose(got, np.linalg.norm(above - below, axis=-1) / 2e-5, rtol=1e-6)


def test_burn_in_is_when_the_outputs_agree_for_good():
    cell, xs = linear(0.5), draw(1, TIME, 3, INPUT)
    first, second = jnp.zeros(HIDDEN), jnp.ones(HIDDEN)  # apart by √5 · 0.5^(t+1) at step t
    got = dynamics.burn_in(cell, first, second, xs, epsilon=1e-3)
    want = int(np.ceil(np.log2(np.sqrt(HIDDEN) / 1e-3))) - 1
    np.testing.assert_array_equal(got, [want] * 3)
    never = dynamics.burn_in(linear(1.0), first, second, xs)
    np.testing.assert_array_equal(never, [TIME] * 3)
    np.testing.assert_array_equal(dynamics.burn_in(cell, first, first, xs), [0] * 3)


def test_state_norms_and_drift_are_those_of_the_states():
    cell, xs = CELLS["LSTM"](), draw(1, TIME, 3, INPUT)
    _, (_, states) = seqmem.unroll(seqmem.with_states(cell), cell.init_state(), xs)
    norms = dynamics.state_norms(cell, cell.init_state(), xs)
    np.testing.assert_allclose(norms.c, np.linalg.norm(states.c, axis=-1), rtol=1e-12)
    whole = np.concatenate([states.h, states.c], -1)[7::8]
    want = np.linalg.norm(np.diff(whole, axis=0), axis=-1) / np.linalg.norm(whole[1:], axis=-1)
    np.testing.assert_allclose(dynamics.drift(cell, cell.init_state(), xs, 8), want, rtol=1e-12)


def gates_of(cell, name, bias):
    return seqmem.with_gate(cell, name, W=0.0, U=0.0, b=bias)


@pytest.mark.parametrize("name", ["LSTM", "PeepholeLSTM", "GRU", "ResetBeforeGRU", "MGU"])
def test_a_gate_with_a_great_bias_is_saturated(name):
    cell = CELLS[name]()
    gate = cell.gates[0]
    xs = draw(1, TIME, 3, cell.input_size)
    for bias, shut, opened in ((9.0, 0, 1), (-9.0, 1, 0), (0.0, 0, 0)):
        stands = dynamics.gate_saturation(gates_of(cell, gate, bias), cell.init_state(), xs)[gate]
        np.testing.assert_array_equal(stands.shut, np.full((3, HIDDEN), shut))
        np.testing.assert_array_equal(stands.open, np.full((3, HIDDEN), opened))


@pytest.mark.parametrize("name", ["LSTM", "GRU", "ResetBeforeGRU", "MGU", "PeepholeLSTM"])
def test_gate_values_take_part_in_the_update_as_named(name):
    """Each cell's update, written once more from its gate values."""
    cell = seqmem.with_states(CELLS[name]())
    state = jax.tree.map(lambda leaf: draw(3, *leaf.shape), cell.init_state())
    u = cell.project(draw(1, INPUT))
    values = dynamics.gate_values(cell, state, u)
    own = cell.cell
    if "LSTM" in name:
        g = jnp.tanh(u[2] + own.U[2] @ state.h)
        c = values["forget"] * state.c + values["input"] * g
        want = type(state)(values["output"] * jnp.tanh(c), c)
    elif name == "MGU":
        f = values["forget"]
        want = (1 - f) * state + f * jnp.tanh(own.U[1] @ (f * state) + u[1])
    else:
        r, z = values["reset"], values["update"]
        after = name == "GRU"
        seen = r * (own.U[2] @ state + own.c) if after else own.U[2] @ (r * state)
        want = (1 - z) * jnp.tanh(u[2] + seen) + z * state
    got = own.update(state, u)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
