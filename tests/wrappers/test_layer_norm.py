"""Layer normalisation inside of gated cells, against loops of the paper's equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem._methods.scan.vjp_rules import tiles_of_products
from tests.helpers.programs import lowered

KEY = jax.random.key(0)
TIME, BATCH, INPUT, HIDDEN = 7, 3, 2, 5
EPS = 1e-2


def make(cell_type):
    """A cell in float64, with noise on all parameters."""
    rng = np.random.default_rng(5)
    cell = seqmem.with_layer_norm(cell_type(INPUT, HIDDEN, key=KEY), eps=EPS)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf + 0.3 * rng.normal(size=leaf.shape)), cell)


def ln(a, gain):
    return gain * (a - a.mean()) / np.sqrt(a.var() + EPS)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(cell, xs):
    g, g_x = np.asarray(cell.wrapper.state_gain), np.asarray(cell.wrapper.input_gain)
    W, U, b = (np.asarray(leaf) for leaf in (cell.cell.W, cell.cell.U, cell.cell.b))
    h = c = np.zeros(HIDDEN)
    for x in xs:
        i, f, z, o = ln(U @ h, g) + ln(W @ x, g_x) + b
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(z)
        h = sigmoid(o) * np.tanh(c)
        yield h


def gru(cell, xs):
    gru, norm = jax.tree.map(np.asarray, (cell.cell, cell.wrapper))
    (g, g_u, _), (g_x, _, g_w) = norm.state_gain, norm.input_gain
    h = np.zeros(HIDDEN)
    for x in xs:
        r, z = sigmoid(ln(gru.U[:2] @ h, g) + ln(gru.W[:2] @ x, g_x) + gru.b[:2])
        n = ln(gru.W[2] @ x, g_w) + gru.b[2] + r * (ln(gru.U[2] @ h, g_u) + gru.c)
        h = (1 - z) * np.tanh(n) + z * h
        yield h


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("cell_type", "reference"), [(seqmem.LSTM, lstm), (seqmem.GRU, gru)], ids=["LSTM", "GRU"]
)
def test_layer_norm_matches_the_equations_of_its_paper(cell_type, reference):
    cell, xs = make(cell_type), np.random.default_rng(7).normal(size=(TIME, INPUT))
    assert cell.family is seqmem.GATED
    _, ys = seqmem.unroll(cell, None, xs)
    np.testing.assert_allclose(ys, list(reference(cell, xs)), rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("cell_type", [seqmem.RNN, seqmem.IndRNN])
def test_cell_with_layer_norm_passes_every_law(cell_type):
    cell, x = seqmem.with_layer_norm(cell_type(2, 5, key=KEY)), jnp.zeros(2)
    if cell_type is seqmem.IndRNN:
        cell, x = seqmem.with_zoneout(cell), (x, jnp.zeros(5))
    report = seqmem.testing.check_cell(cell, x, methods=[seqmem.Scan()])
    assert set(report.values()) == {"holds"}


def test_layer_norm_of_inputs_is_outside_of_the_loop_and_a_step_has_one_product():
    cell = seqmem.with_layer_norm(seqmem.LSTM(INPUT, HIDDEN, key=KEY))
    xs = jax.ShapeDtypeStruct((64, BATCH, INPUT), jnp.float32)

    def loss(cell, xs):
        return seqmem.unroll(cell, None, xs)[1].sum()

    forward, backward = lowered(jax.grad(loss), cell, xs, platform="cpu").innermost
    steps = tiles_of_products(BATCH, HIDDEN, "cpu").forward
    assert forward.products == steps + 3  # the inputs, and a state and an input of zeros
    assert backward.products == 1
