"""The papers of the cells whose recurrent matrix has a structure, in NumPy, entry by entry.

A loop below is as in `gated`; the matrices are made of their parameters here.
"""

import numpy as np
import scipy.linalg

import seqmem
from tests.papers.gated import sigmoid


def antisymmetric(A, gamma):
    """Chang et al. 2019: W − Wᵀ − γ I."""
    size = range(len(A))
    return np.array([[A[i, j] - A[j, i] - gamma * (i == j) for j in size] for i in size])


def rotation(A):
    """Lezcano-Casado & Martínez-Rubio 2019: the exponential of an antisymmetric matrix."""
    upper = np.triu(A, 1)
    return scipy.linalg.expm(upper - upper.T)


def schur_form(parameters):
    """Kerg et al. 2019: rotations and what is above them, in a rotated basis."""
    T, P = parameters["T"], rotation(parameters["A"])
    form = np.zeros_like(T)
    for i in range(len(T) // 2):
        gamma, theta = parameters["gamma"][i], parameters["theta"][i]
        rows = slice(2 * i, 2 * i + 2)
        c, s = np.cos(theta), np.sin(theta)
        form[rows, rows] = gamma * np.array([[c, -s], [s, c]])
        form[rows, 2 * i + 2 :] = T[rows, 2 * i + 2 :]
    return P @ form @ P.T


def antisymmetric_rnn(cell, h, xs):
    U, ys = antisymmetric(cell.U.parameters, cell.U.structure.damping), []
    for x in xs:
        h = h + cell.step_size * np.tanh(U @ h + cell.W @ x + cell.b)
        ys.append(h)
    return h, ys


def gated_antisymmetric_rnn(cell, h, xs):
    U, ys = antisymmetric(cell.U.parameters, cell.U.structure.damping), []
    for x in xs:
        z = sigmoid(U @ h + cell.W[0] @ x + cell.b[0])
        h = h + cell.step_size * z * np.tanh(U @ h + cell.W[1] @ x + cell.b[1])
        ys.append(h)
    return h, ys


def lipschitz_rnn(cell, h, xs):
    """Erichson et al. 2021: A and U have the same form."""
    beta, gamma = cell.U.structure.skew, cell.U.structure.damping
    A, U = (
        (1 - beta) * (M + M.T) + beta * (M - M.T) - gamma * np.eye(len(M))
        for M in cell.U.parameters
    )
    ys = []
    for x in xs:
        h = h + cell.step_size * (A @ h + np.tanh(U @ h + cell.W @ x + cell.b))
        ys.append(h)
    return h, ys


def mod_relu_rnn(U, cell, h, xs):
    """Units keep their sign, and are as much smaller as their threshold says."""
    ys = []
    for x in xs:
        z = U @ h + cell.W @ x
        h = np.array([np.sign(a) * max(abs(a) + b, 0) for a, b in zip(z, cell.b, strict=True)])
        ys.append(h)
    return h, ys


def exp_rnn(cell, h, xs):
    return mod_relu_rnn(rotation(cell.U.parameters), cell, h, xs)


def nn_rnn(cell, h, xs):
    return mod_relu_rnn(schur_form(cell.U.parameters), cell, h, xs)


PAPERS = {
    seqmem.AntisymmetricRNN: (antisymmetric_rnn, {}),
    seqmem.GatedAntisymmetricRNN: (gated_antisymmetric_rnn, {}),
    seqmem.LipschitzRNN: (lipschitz_rnn, {"step_size": 0.3}),
    seqmem.ExpRNN: (exp_rnn, {}),
    seqmem.NNRNN: (nn_rnn, {"hidden_size": 4}),
}
