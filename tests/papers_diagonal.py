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


PAPERS = {
    seqmem.MinGRU: (min_gru, {}),
    seqmem.LRU: (lru, {}),
}
