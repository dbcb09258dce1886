"""Every cell computes the equations of its paper, written here once more in NumPy, gate by gate.

A loop below is `paper(cell, state, xs) -> (state, ys)`, on a cell of NumPy arrays.
"""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem

TIME, INPUT, HIDDEN, OUTPUT = 7, 3, 5, 2


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def look(cell, name, x, h):
    """W x + U h + b of one gate."""
    gate = seqmem.gate(cell, name)
    return gate.W @ x + gate.U @ h + gate.b


def elman(cell, h, xs):
    """Elman 1990: the hidden units see the input and a copy of themselves from before."""
    ys = []
    for x in xs:
        context = h
        h = np.tanh(cell.W @ x + cell.U @ context + cell.b)
        ys.append(cell.V @ h)
    return h, ys


def independent(cell, h, xs):
    """Li et al. 2018, equation 2, unit by unit."""
    ys = []
    for x in xs:
        sums = [cell.W[n] @ x + cell.u[n] * h[n] + cell.b[n] for n in range(HIDDEN)]
        h = np.maximum(sums, 0)
        ys.append(h)
    return h, ys


def lstm(cell, state, xs):
    """Hochreiter & Schmidhuber 1997, the memory scaled by Gers et al.'s forget gate."""
    (h, c), ys = state, []
    for x in xs:
        i = sigmoid(look(cell, "input", x, h))
        f = sigmoid(look(cell, "forget", x, h))
        o = sigmoid(look(cell, "output", x, h))
        c = f * c + i * np.tanh(look(cell, "cell", x, h))
        h = o * np.tanh(c)
        ys.append(h)
    return (h, c), ys


def peephole_lstm(cell, state, xs):
    """Graves 2013, equations 7 to 11: matrices from the memory to the gates, all diagonal."""
    (h, c), ys = state, []
    W_ci, W_cf, W_co = (np.diag(p) for p in cell.p)
    for x in xs:
        i = sigmoid(look(cell, "input", x, h) + W_ci @ c)
        f = sigmoid(look(cell, "forget", x, h) + W_cf @ c)
        c = f * c + i * np.tanh(look(cell, "cell", x, h))
        o = sigmoid(look(cell, "output", x, h) + W_co @ c)
        h = o * np.tanh(c)
        ys.append(h)
    return (h, c), ys


def projected_lstm(cell, state, xs):
    """Sak et al. 2014, equations 7 to 12, without peepholes: r is what comes back."""
    (m, c), ys = state, []
    r = cell.R @ m
    for x in xs:
        i = sigmoid(look(cell, "input", x, r))
        f = sigmoid(look(cell, "forget", x, r))
        c = f * c + i * np.tanh(look(cell, "cell", x, r))
        o = sigmoid(look(cell, "output", x, r))
        m = o * np.tanh(c)
        r = cell.R @ m
        ys.append(r)
    return (m, c), ys


def gru(cell, h, xs):
    """PyTorch's and cuDNN's form: the reset gate multiplies U_n h + c, not h."""
    n, ys = seqmem.gate(cell, "candidate"), []
    for x in xs:
        r = sigmoid(look(cell, "reset", x, h))
        z = sigmoid(look(cell, "update", x, h))
        candidate = np.tanh(n.W @ x + n.b + r * (n.U @ h + cell.c))
        h = z * h + (1 - z) * candidate
        ys.append(h)
    return h, ys


def reset_before_gru(cell, h, xs):
    """Cho et al. 2014, equations 5 to 8."""
    ys = []
    for x in xs:
        r = sigmoid(look(cell, "reset", x, h))
        z = sigmoid(look(cell, "update", x, h))
        h = z * h + (1 - z) * np.tanh(look(cell, "candidate", x, r * h))
        ys.append(h)
    return h, ys


def mgu(cell, h, xs):
    """Zhou et al. 2016, equations 7a to 7c, whose matrices see [h, x] at once."""
    forget, candidate = seqmem.gate(cell, "forget"), seqmem.gate(cell, "candidate")
    W_f, W_h = (np.hstack([gate.U, gate.W]) for gate in (forget, candidate))
    ys = []
    for x in xs:
        f = sigmoid(W_f @ np.concatenate([h, x]) + forget.b)
        new = np.tanh(W_h @ np.concatenate([f * h, x]) + candidate.b)
        h = (1 - f) * h + f * new
        ys.append(h)
    return h, ys


def min_gru(cell, h, xs):
    """Feng et al. 2024, section 3.1."""
    z, c = seqmem.gate(cell, "update"), seqmem.gate(cell, "candidate")
    ys = []
    for x in xs:
        keep = 1 - sigmoid(z.W @ x + z.b)
        h = keep * h + (1 - keep) * (c.W @ x + c.b)
        ys.append(h)
    return h, ys


def lru(cell, s, xs):
    """Orvieto et al. 2023, equations 4 to 7: a diagonal matrix of λ, and a gain for each entry."""
    Lambda = np.diag(np.exp(-np.exp(cell.nu) + 1j * np.exp(cell.theta)))
    ys = []
    for x in xs:
        s = Lambda @ s + np.exp(cell.gamma) * (cell.B @ x)
        ys.append((cell.C @ s).real + cell.D * x)
    return s, ys


PAPERS = {
    seqmem.RNN: (elman, {"output_size": OUTPUT}),
    seqmem.IndRNN: (independent, {}),
    seqmem.LSTM: (lstm, {}),
    seqmem.PeepholeLSTM: (peephole_lstm, {}),
    seqmem.ProjectedLSTM: (projected_lstm, {"output_size": OUTPUT}),
    seqmem.GRU: (gru, {}),
    seqmem.ResetBeforeGRU: (reset_before_gru, {}),
    seqmem.MGU: (mgu, {}),
    seqmem.MinGRU: (min_gru, {}),
    seqmem.LRU: (lru, {}),
}


def test_every_cell_has_its_paper():
    public = [value for value in vars(seqmem).values() if inspect.isclass(value)]
    cells = {cls for cls in public if issubclass(cls, seqmem.AbstractCell)}
    assert {cls for cls in cells if not inspect.isabstract(cls)} == PAPERS.keys()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("cell_type", PAPERS, ids=lambda cell_type: cell_type.__name__)
def test_a_cell_computes_what_its_paper_says(cell_type):
    paper, options = PAPERS[cell_type]
    rng = np.random.default_rng(11)
    cell = cell_type(INPUT, HIDDEN, key=jax.random.key(0), **options)

    # All of it random, so that no bias, peephole or initial state is 0 and goes unnoticed.
    def draw(leaf):
        drawn = rng.standard_normal(leaf.shape)
        return drawn + 1j * rng.standard_normal(leaf.shape) if np.iscomplexobj(leaf) else drawn

    cell, state = jax.tree.map(draw, (cell, cell.init_state()))
    xs = rng.standard_normal((TIME, INPUT))
    final, ys = seqmem.unroll(*jax.tree.map(jnp.asarray, (cell, state, xs)))
    expected_final, expected = paper(cell, state, xs)
    np.testing.assert_allclose(ys, expected, rtol=0, atol=1e-12)
    for own, other in zip(jax.tree.leaves(final), jax.tree.leaves(expected_final), strict=True):
        assert own.dtype == other.dtype
        np.testing.assert_allclose(own, other, rtol=0, atol=1e-12)
