"""Layer normalisation within gated cells, against loops of the paper's equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.helpers.programs import lowered

import seqmem
from seqmem._methods.scan.vjp_rules import pace_of_products

KEY = jax.random.key(0)
TIME, BATCH, INPUT, HIDDEN = 7, 3, 2, 5
EPS = 1e-2


def made(cell_type):
    """In float64, with gains and biases that are like no others."""
    rng = np.random.default_rng(5)
    cell = seqmem.with_layer_norm(cell_type(INPUT, HIDDEN, key=KEY), eps=EPS)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf + 0.3 * rng.normal(size=leaf.shape)), cell)


def ln(a, gain):
    return gain * (a - a.mean()) / np.sqrt(a.var() + EPS)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(cell, xs):
    g, g_x = np.asarray(cell.modifier.state_gain), np.asarray(cell.modifier.input_gain)
    W, U, b = (np.asarray(leaf) for leaf in (cell.cell.W, cell.cell.U, cell.cell.b))
    h = c = np.zeros(HIDDEN)
    for x in xs:
        i, f, z, o = ln(U @ h, g) + ln(W @ x, g_x) + b
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(z)
        h = sigmoid(o) * np.tanh(c)
        yield h


def gru(cell, xs):
    own, norm = jax.tree.map(np.asarray, (cell.cell, cell.modifier))
    (g, g_u, _), (g_x, _, g_w) = norm.state_gain, norm.input_gain
    h = np.zeros(HIDDEN)
    for x in xs:
        r, z = sigmoid(ln(own.U[:2] @ h, g) + ln(own.W[:2] @ x, g_x) + own.b[:2])
        n = ln(own.W[2] @ x, g_w) + own.b[2] + r * (ln(own.U[2] @ h, g_u) + own.c)
        h = (1 - z) * np.tanh(n) + z * h
        yield h


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("cell_type", "by_hand"), [(seqmem.LSTM, lstm), (seqmem.GRU, gru)], ids=["LSTM", "GRU"]
)
def test_it_is_that_of_the_paper(cell_type, by_hand):
    cell, xs = made(cell_type), np.random.default_rng(7).normal(size=(TIME, INPUT))
    assert isinstance(cell, seqmem.AbstractGatedCell)
    _, ys = seqmem.unroll(cell, cell.init_state(), xs)
    np.testing.assert_allclose(ys, list(by_hand(cell, xs)), rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda: seqmem.RNN(2, 5, key=KEY),
        lambda: seqmem.with_zoneout(seqmem.with_layer_norm(seqmem.IndRNN(2, 5, key=KEY))),
    ],
    ids=["RNN", "IndRNN with_zoneout"],
)
def test_a_normalised_cell_keeps_every_law(make):
    cell, x = make(), jnp.zeros(2)
    if cell.input_axes == 1:
        cell = seqmem.with_layer_norm(cell)
    else:
        x = x, jnp.zeros(5)
    report = seqmem.testing.check_cell(cell, x, methods=[seqmem.Scan()])
    assert set(report.values()) == {"holds"}


def test_every_step_has_one_product_and_the_inputs_are_normalised_outside_of_it():
    cell = seqmem.with_layer_norm(seqmem.LSTM(INPUT, HIDDEN, key=KEY))
    xs = jax.ShapeDtypeStruct((64, BATCH, INPUT), jnp.float32)

    def loss(cell, xs):
        return seqmem.unroll(cell, cell.init_state(), xs)[1].sum()

    ahead, back = lowered(jax.grad(loss), cell, xs, platform="cpu").innermost
    stretch = pace_of_products(BATCH, 2 * HIDDEN).stretch
    assert ahead.products == stretch + 3  # the inputs, and a state and an input of zeros
    assert back.products == 1
