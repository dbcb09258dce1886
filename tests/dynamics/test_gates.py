"""Gate values and their saturation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import dynamics, gradients
from tests.helpers.cells import CELLS

TIME, BATCH, HIDDEN = 11, 3, 5

pytestmark = pytest.mark.usefixtures("float64")


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def with_gate_of_bias(cell, name, bias):
    return seqmem.with_gate(cell, name, W=0.0, U=0.0, b=bias)


@pytest.mark.parametrize("name", ["LSTM", "PeepholeLSTM", "GRU", "ResetBeforeGRU", "MGU"])
def test_gate_with_a_large_bias_is_saturated(name):
    cell, xs = CELLS[name](), draw(1, TIME, BATCH, 2)
    gate = cell.gates[0]
    saturation = jax.jit(lambda cell: dynamics.gate_saturation(cell, None, xs)[gate])
    for bias, closed, open_ in ((9.0, 0, 1), (-9.0, 1, 0), (0.0, 0, 0)):
        shares = saturation(with_gate_of_bias(cell, gate, bias))
        np.testing.assert_array_equal(shares.closed, np.full((BATCH, HIDDEN), closed))
        np.testing.assert_array_equal(shares.open, np.full((BATCH, HIDDEN), open_))


@pytest.mark.slow
def test_gate_saturation_does_not_count_padding():
    cell = with_gate_of_bias(CELLS["MGU"](), "forget", 0.0)
    cell = seqmem.with_gate(cell, "forget", W=9.0)
    mask, lengths = np.ones((TIME, 2), bool), [TIME, 4]
    mask[3, 0] = False
    valid = mask & (np.arange(TIME)[:, None] < lengths)
    xs = np.repeat(valid[..., None], 2, -1).astype(float)  # where x is 0, the gate is at 1/2
    shares = dynamics.gate_saturation(cell, None, xs, lengths=lengths, mask=mask)["forget"]
    np.testing.assert_array_equal(shares.open, np.ones((2, HIDDEN)))
    np.testing.assert_array_equal(shares.closed, np.zeros((2, HIDDEN)))


@pytest.mark.parametrize("name", ["LSTM", "GRU", "ResetBeforeGRU", "MGU", "PeepholeLSTM"])
def test_update_written_from_gate_values_is_the_update_of_the_cell(name):
    cell = CELLS[name]()
    state = jax.tree.map(lambda leaf: jnp.asarray(draw(3, *leaf.shape)), cell.init_state())
    u = cell.project(jnp.asarray(draw(1, 2)))
    gates = dynamics.gate_values(cell, state, u)
    if "LSTM" in name:
        candidate = jnp.tanh(u[2] + cell.U[2] @ state.h)
        c = gates["forget"] * state.c + gates["input"] * candidate
        expected = type(state)(gates["output"] * jnp.tanh(c), c)
    elif name == "MGU":
        f = gates["forget"]
        expected = (1 - f) * state + f * jnp.tanh(cell.U[1] @ (f * state) + u[1])
    else:
        r, z = gates["reset"], gates["update"]
        resets_product = name == "GRU"
        recurrent = r * (cell.U[2] @ state + cell.c) if resets_product else cell.U[2] @ (r * state)
        expected = (1 - z) * jnp.tanh(u[2] + recurrent) + z * state
    new_state = cell.update(state, u)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), new_state, expected)


@pytest.mark.parametrize("name", ["RNN", "IndRNN"])
def test_cell_without_gates_is_refused(name):
    cell, xs = CELLS[name](), draw(1, TIME, 2)
    for call in (
        lambda: gradients.gate_gradients(cell, None, xs, None),
        lambda: dynamics.gate_saturation(cell, None, xs),
    ):
        with pytest.raises(ValueError, match=r"(?s)has no gates.*Expected: .*What to do: "):
            call()


@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_margin_out_of_range_is_refused(margin):
    with pytest.raises(ValueError, match=r"(?s)margin.*Expected: .*What to do: "):
        dynamics.gate_saturation(CELLS["GRU"](), None, draw(1, TIME, 2), margin=margin)
