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


def lru(cell, s, xs):
    """Orvieto et al. 2023, equations 4 to 7: a diagonal matrix of λ, and a gain for each entry."""
    Lambda = np.diag(np.exp(-np.exp(cell.nu) + 1j * np.exp(cell.theta)))
    ys = []
    for x in xs:
        s = Lambda @ s + np.exp(cell.gamma) * (cell.B @ x)
        ys.append((cell.C @ s).real + cell.D * x)
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
    """Smith et al. 2023, section 3: one system for all inputs, discretised by zero-order hold."""
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


PAPERS = {
    seqmem.MinGRU: (min_gru, {}),
    seqmem.LRU: (lru, {}),
    seqmem.S4D: (s4d, {}),
    seqmem.S5: (s5, {}),
    seqmem.S6: (s6, {"rank": 2}),
}
