"""The papers of the diagonal cells, in NumPy, gate by gate.

A loop below is `paper(cell, state, xs) -> (state, ys)`, on a cell of NumPy arrays; PAPERS names a
cell's loop, and the cell's other arguments.
"""

import numpy as np

import seqmem
from tests.papers.gated import sigmoid


def min_gru(cell, h, xs):
    """Feng et al. 2024, section 3.1."""
    z, c = seqmem.gate(cell, "update"), seqmem.gate(cell, "candidate")
    ys = []
    for x in xs:
        keep = 1 - sigmoid(z.W @ x + z.b)
        h = keep * h + (1 - keep) * (c.W @ x + c.b)
        ys.append(h)
    return h, ys


def pre_activation(cell, name, x):
    """W x + b of one gate."""
    gate = seqmem.gate(cell, name)
    return gate.W @ x + gate.b


def min_lstm(cell, h, xs):
    """Feng et al. 2024, algorithm 3."""
    ys = []
    for x in xs:
        f, i = sigmoid(pre_activation(cell, "forget", x)), sigmoid(pre_activation(cell, "input", x))
        h = f / (f + i) * h + i / (f + i) * pre_activation(cell, "candidate", x)
        ys.append(h)
    return h, ys


def gilr(cell, h, xs):
    """Martin & Cundy 2018, section 3.1, τ = tanh."""
    ys = []
    for x in xs:
        g, impulse = (
            sigmoid(pre_activation(cell, "forget", x)),
            np.tanh(pre_activation(cell, "candidate", x)),
        )
        h = g * h + (1 - g) * impulse
        ys.append(h)
    return h, ys


def qrnn(cell, c, xs):
    """Bradbury et al. 2017, fo-pooling, all gates of all steps first."""
    Z = np.tanh([pre_activation(cell, "candidate", x) for x in xs])
    F, O = (
        sigmoid(np.array([pre_activation(cell, name, x) for x in xs]))
        for name in ("forget", "output")
    )
    ys = []
    for z, f, o in zip(Z, F, O, strict=True):
        c = f * c + (1 - f) * z
        ys.append(o * c)
    return c, ys


def sru(cell, c, xs):
    """Lei et al. 2018, a single layer, v_f = v_r = 0."""
    ys = []
    for x in xs:
        f, r = sigmoid(pre_activation(cell, "forget", x)), sigmoid(pre_activation(cell, "reset", x))
        c = f * c + (1 - f) * pre_activation(cell, "candidate", x)
        ys.append(r * c + (1 - r) * x)
    return c, ys


def rg_lru(cell, h, xs):
    """De et al. 2024, equations 1 to 4."""
    a = sigmoid(cell.Lambda)
    ys = []
    for x in xs:
        a_t = a ** (8 * sigmoid(pre_activation(cell, "recurrence", x)))
        h = a_t * h + np.sqrt(1 - a_t**2) * (sigmoid(pre_activation(cell, "input", x)) * x)
        ys.append(h)
    return h, ys


def hgrn(cell, h, xs):
    """Qin et al. 2023: the HGRU, its layer norm and its projection."""
    lower = sigmoid(cell.Gamma)
    ys = []
    for x in xs:
        real, imaginary = pre_activation(cell, "real", x), pre_activation(cell, "imaginary", x)
        c = real * sigmoid(real) + 1j * imaginary * sigmoid(imaginary)
        decay = lower + (1 - lower) * sigmoid(pre_activation(cell, "forget", x))
        h = decay * np.exp(1j * cell.theta) * h + (1 - decay) * c
        gate = sigmoid(
            np.hstack([pre_activation(cell, f"output {part}", x) for part in ("real", "imaginary")])
        )
        gated = gate * np.hstack([h.real, h.imag])
        ys.append(cell.V @ ((gated - gated.mean()) / np.sqrt(gated.var() + 1e-5)) + cell.d)
    return h, ys


def lru(cell, s, xs):
    """Orvieto et al. 2023, section 3.4: a diagonal matrix of λ, and a gain for each entry."""
    Lambda = np.diag(np.exp(-np.exp(cell.nu) + 1j * np.exp(cell.theta)))
    B, C = cell.B[0] + 1j * cell.B[1], cell.C[0] + 1j * cell.C[1]
    ys = []
    for x in xs:
        s = Lambda @ s + np.exp(cell.gamma) * (B @ x)
        ys.append((C @ s).real + cell.D * x)
    return s, ys


def s4d(cell, s, xs):
    """Gu et al. 2022, channel by channel: the discrete system by zero-order hold, both halves."""
    A, C = -np.exp(cell.A_log) + 1j * cell.A_imag, cell.C[0] + 1j * cell.C[1]
    ys = []
    for x in xs:
        y, s = np.zeros(len(x), complex), s.copy()
        for d, delta in enumerate(np.exp(cell.log_delta)):
            A_bar = np.diag(np.exp(delta * A[d]))
            B_bar = (
                np.linalg.inv(np.diag(A[d])) @ (A_bar - np.eye(len(A_bar))) @ np.ones(len(A_bar))
            )
            s[d] = A_bar @ s[d] + B_bar * x[d]
            y[d] = C[d] @ s[d] + C[d].conj() @ s[d].conj() + cell.D[d] * x[d]
        ys.append(y.real)
    return s, ys


def s5(cell, s, xs):
    """Smith et al. 2023: one system for all inputs, discretised by zero-order hold."""
    Lambda = np.diag(cell.Lambda[0] + 1j * cell.Lambda[1])
    B, C = cell.B[0] + 1j * cell.B[1], cell.C[0] + 1j * cell.C[1]
    Lambda_bar = np.diag(np.exp(np.diag(Lambda) * np.exp(cell.log_delta)))
    B_bar = np.linalg.inv(Lambda) @ (Lambda_bar - np.eye(len(Lambda))) @ B
    ys = []
    for x in xs:
        s = Lambda_bar @ s + B_bar @ x
        ys.append((C @ s + C.conj() @ s.conj()).real + cell.D * x)
    return s, ys


def s6(cell, s, xs):
    """Gu & Dao 2023, algorithm 2, channel by channel, with the discretisation of their code."""
    A, ys = -np.exp(cell.A_log), []
    for x in xs:
        delta = np.log1p(np.exp(cell.W_delta @ (cell.V_delta @ x) + cell.b))
        B, C = cell.W_B @ x, cell.W_C @ x
        decay = [np.diag(np.exp(delta[d] * A[d])) for d in range(len(x))]
        s = np.stack([decay[d] @ s[d] + delta[d] * B * x[d] for d in range(len(x))])
        ys.append([C @ s[d] + cell.D[d] * x[d] for d in range(len(x))])
    return s, ys


def rtu(cell, s, xs):
    """Elelimy et al. 2024, linear, in real numbers: a pair (a, b) is rotated and shrunk."""
    r, angle = np.exp(-np.exp(cell.nu)), np.exp(cell.theta)
    a, b, ys = s.real, s.imag, []
    for x in xs:
        a, b = (
            r * (np.cos(angle) * a - np.sin(angle) * b) + np.sqrt(1 - r**2) * (cell.W[0] @ x),
            r * (np.sin(angle) * a + np.cos(angle) * b) + np.sqrt(1 - r**2) * (cell.W[1] @ x),
        )
        ys.append(np.maximum(np.hstack([a, b]), 0))
    return a + 1j * b, ys


def shm(cell, M, xs):
    """Le et al. 2024: calibration and update as matrices."""
    ys = []
    for x in xs:
        k, q, v, c = cell.W @ x
        k, q = np.maximum(k, 0), np.maximum(q, 0)
        C = 1 + np.tanh(np.outer(cell.theta, c))
        M = M * C + sigmoid(cell.w @ x) * np.outer(v, k / (1e-5 + k.sum()))
        ys.append(M @ (q / (1e-5 + q.sum())))
    return M, ys


PAPERS = {
    seqmem.MinGRU: (min_gru, {}),
    seqmem.MinLSTM: (min_lstm, {}),
    seqmem.GILR: (gilr, {}),
    seqmem.QRNN: (qrnn, {}),
    seqmem.SRU: (sru, {}),
    seqmem.RGLRU: (rg_lru, {}),
    seqmem.LRU: (lru, {}),
    seqmem.RTU: (rtu, {}),
    seqmem.SHM: (shm, {}),
    seqmem.HGRN: (hgrn, {}),
    seqmem.S4D: (s4d, {}),
    seqmem.S5: (s5, {}),
    seqmem.S6: (s6, {"rank": 2}),
}
