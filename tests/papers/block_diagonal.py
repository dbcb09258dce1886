"""The papers of the oscillators, in NumPy, one oscillator after another.

A loop below is `paper(cell, state, xs) -> (state, ys)`, on a cell of NumPy arrays; PAPERS names a
cell's loop, and the cell's other arguments.
"""

import numpy as np

import seqmem
from tests.papers.gated import sigmoid


def relu(x):
    return np.maximum(x, 0)


def run(cell, state, xs, steps):
    """Oscillators of complex position and velocity; `steps[j]` is (M, M_B): the step of oscillator
    j solves M s_t = M_B s_{t−1} + (Δ B x_t, 0) with s = (z, y).
    """
    s = np.stack([leaf[0] + 1j * leaf[1] for leaf in state])
    B, C = cell.B[0] + 1j * cell.B[1], cell.C[0] + 1j * cell.C[1]
    delta, ys = sigmoid(cell.delta), []
    for x in xs:
        forcing = delta * (B @ x)
        s = np.stack(
            [
                np.linalg.solve(M, M_before @ s[:, j] + [forcing[j], 0])
                for j, (M, M_before) in enumerate(steps)
            ],
            axis=1,
        )
        ys.append((C @ s[1]).real + cell.D * x)
    return tuple(np.stack([leaf.real, leaf.imag]) for leaf in s), ys


def lin_oss_im(cell, state, xs):
    """Rusch & Rus 2024, implicit: z_t − z_{t−1} = Δ (B x_t − A y_t), y_t − y_{t−1} = Δ z_t."""
    pairs = zip(relu(cell.A), sigmoid(cell.delta), strict=True)
    return run(cell, state, xs, [([[1, d * a], [-d, 1]], np.eye(2)) for a, d in pairs])


def lin_oss_imex(cell, state, xs):
    """Rusch & Rus 2024, implicit-explicit: as above with A y_{t−1}."""
    pairs = zip(relu(cell.A), sigmoid(cell.delta), strict=True)
    before = [(np.array([[1, 0], [-d, 1]]), np.array([[1, -d * a], [0, 1]])) for a, d in pairs]
    return run(cell, state, xs, before)


def d_lin_oss(cell, state, xs):
    """Boyer et al. 2025: as above with a damping −G z_t, A where a step has complex eigenvalues."""
    steps = []
    for a, g, d in zip(cell.A, relu(cell.G), sigmoid(cell.delta), strict=True):
        least, most = ((2 + d * g + sign * 2 * np.sqrt(1 + d * g)) / d**2 for sign in (-1, 1))
        a = min(max(a, least), most)
        steps.append((np.array([[1 + d * g, 0], [-d, 1]]), np.array([[1, -d * a], [0, 1]])))
    return run(cell, state, xs, steps)


PAPERS = {
    seqmem.LinOSSIM: (lin_oss_im, {}),
    seqmem.LinOSSIMEX: (lin_oss_imex, {}),
    seqmem.DLinOSS: (d_lin_oss, {}),
}
