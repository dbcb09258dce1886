"""The papers of the diagonal cells, in NumPy, gate by gate.

A loop below is `paper(cell, state, xs) -> (state, ys)`, on a cell of NumPy arrays; PAPERS names a
cell's loop, and what the cell is made with beside its sizes.
"""

import numpy as np
from papers_gated import sigmoid

import seqmem


def min_gru(cell, h, xs):
    """Feng et al. 2024, section 3.1."""
    z, c = seqmem.gate(cell, "update"), seqmem.gate(cell, "candidate")
    ys = []
    for x in xs:
        keep = 1 - sigmoid(z.W @ x + z.b)
        h = keep * h + (1 - keep) * (c.W @ x + c.b)
        ys.append(h)
    return h, ys


def look(cell, name, x):
    """W x + b of one gate."""
    gate = seqmem.gate(cell, name)
    return gate.W @ x + gate.b


def min_lstm(cell, h, xs):
    """Feng et al. 2024, algorithm 3."""
    ys = []
    for x in xs:
        f, i = sigmoid(look(cell, "forget", x)), sigmoid(look(cell, "input", x))
        h = f / (f + i) * h + i / (f + i) * look(cell, "candidate", x)
        ys.append(h)
    return h, ys


def gilr(cell, h, xs):
    """Martin & Cundy 2018, section 3.1, τ = tanh."""
    ys = []
    for x in xs:
        g, impulse = sigmoid(look(cell, "forget", x)), np.tanh(look(cell, "candidate", x))
        h = g * h + (1 - g) * impulse
        ys.append(h)
    return h, ys


def qrnn(cell, c, xs):
    """Bradbury et al. 2017, equations 1 and 4, all gates of all steps first."""
    Z = np.tanh([look(cell, "candidate", x) for x in xs])
    F, O = (sigmoid(np.array([look(cell, name, x) for x in xs])) for name in ("forget", "output"))
    ys = []
    for z, f, o in zip(Z, F, O, strict=True):
        c = f * c + (1 - f) * z
        ys.append(o * c)
    return c, ys


def sru(cell, c, xs):
    """Lei et al. 2018, a single layer, v_f = v_r = 0."""
    ys = []
    for x in xs:
        f, r = sigmoid(look(cell, "forget", x)), sigmoid(look(cell, "reset", x))
        c = f * c + (1 - f) * look(cell, "candidate", x)
        ys.append(r * c + (1 - r) * x)
    return c, ys


def rg_lru(cell, h, xs):
    """De et al. 2024, equations 1 to 4."""
    a = sigmoid(cell.Lambda)
    ys = []
    for x in xs:
        a_t = a ** (8 * sigmoid(look(cell, "recurrence", x)))
        h = a_t * h + np.sqrt(1 - a_t**2) * (sigmoid(look(cell, "input", x)) * x)
        ys.append(h)
    return h, ys


def hgrn(cell, h, xs):
    """Qin et al. 2023: the HGRU, its layer norm and its projection."""
    lower = sigmoid(cell.Gamma)
    ys = []
    for x in xs:
        real, imaginary = look(cell, "real", x), look(cell, "imaginary", x)
        c = real * sigmoid(real) + 1j * imaginary * sigmoid(imaginary)
        kept = lower + (1 - lower) * sigmoid(look(cell, "forget", x))
        h = kept * np.exp(1j * cell.theta) * h + (1 - kept) * c
        gate = sigmoid(
            np.hstack([look(cell, f"output {part}", x) for part in ("real", "imaginary")])
        )
        shown = gate * np.hstack([h.real, h.imag])
        ys.append(cell.V @ ((shown - shown.mean()) / np.sqrt(shown.var() + 1e-5)) + cell.d)
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
    seqmem.MinGRU: (min_gru, {}),
    seqmem.MinLSTM: (min_lstm, {}),
    seqmem.GILR: (gilr, {}),
    seqmem.QRNN: (qrnn, {}),
    seqmem.SRU: (sru, {}),
    seqmem.RGLRU: (rg_lru, {}),
    seqmem.LRU: (lru, {}),
    seqmem.HGRN: (hgrn, {}),
}
