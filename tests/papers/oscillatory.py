"""The oscillators with a nonlinearity, and LEM, in NumPy, unit by unit.

A loop below is `paper(cell, state, xs) -> (state, ys)`, on a cell of NumPy arrays; PAPERS names a
cell's loop, and the cell's other arguments.
"""

import numpy as np

import seqmem
from tests.papers.gated import sigmoid


def co_rnn(cell, state, xs):
    """tk-rusch/coRNN: a step of the velocity, then one of the position with the new velocity."""
    (y, z), ys = state, []
    weights = np.hstack([cell.W, cell.U[1], cell.U[0]])
    for x in xs:
        force = np.tanh(weights @ np.concatenate([x, z, y]) + cell.b)
        acceleration = [
            force[j] - cell.gamma * y[j] - cell.epsilon * z[j] for j in range(len(force))
        ]
        z = z + cell.dt * np.array(acceleration)
        y = y + cell.dt * z
        ys.append(y)
    return (y, z), ys


def unicornn(cell, state, xs):
    """tk-rusch/unicornn: one oscillator after another, as its kernel runs them."""
    ys, zs = [], []
    for j, (y, z) in enumerate(zip(*state, strict=True)):
        step, positions = cell.dt / (1 + np.exp(-cell.c[j])), []
        for x in xs:
            force = np.tanh(y * cell.w[j] + cell.W[j] @ x + cell.b[j]) + cell.alpha * y
            z = z - step * force
            y = y + step * z
            positions.append(y)
        ys.append(positions)
        zs.append(z)
    return (np.array(ys)[:, -1], np.array(zs)), np.array(ys).T


def lem(cell, state, xs):
    """tk-rusch/LEM: the memory first, which the hidden state then reads."""
    (y, z), ys = state, []
    for x in xs:
        inputs = [W @ x + b for W, b in zip(cell.W, cell.b, strict=True)]
        z_step, y_step = (cell.dt * sigmoid(cell.U[i] @ y + inputs[i]) for i in (0, 1))
        z = z + z_step * (np.tanh(cell.U[2] @ y + inputs[2]) - z)
        y = y + y_step * (np.tanh(cell.V @ z + inputs[3]) - y)
        ys.append(y)
    return (y, z), ys


PAPERS = {
    seqmem.CoRNN: (co_rnn, {"dt": 0.3, "gamma": 0.7, "epsilon": 1.1}),
    seqmem.UnICORNN: (unicornn, {"dt": 0.3, "alpha": 1.7}),
    seqmem.LEM: (lem, {"dt": 0.6}),
}
