"""The papers of the cells that spike, in NumPy, unit by unit.

A loop below is `paper(cell, state, xs) -> (state, ys)`, on a cell of NumPy arrays; PAPERS names a
cell's loop, and the cell's other arguments.
"""

import numpy as np

import seqmem


def decays(log_tau):
    return [np.exp(-1 / np.exp(log)) for log in log_tau]


def currents(cell, s, x):
    """What each unit gets at one step: from the inputs, and from the spikes of the step before."""
    return [
        cell.W[n] @ x + cell.b[n] + (0 if cell.U is None else cell.U[n] @ s) for n in range(len(s))
    ]


def lif(cell, state, xs):
    """Neftci et al. 2019: S = Θ(U − 1), and the membrane set to zero by a spike."""
    (s, v), ys = state, []
    beta = decays(cell.log_tau)
    for x in xs:
        current = currents(cell, s, x)
        v = np.array([beta[n] * v[n] * (1 - s[n]) + current[n] for n in range(len(v))])
        s = np.where(v > 1, 1.0, 0.0)
        ys.append(s)
    return (s, v), ys


def adaptive_lif(cell, state, xs):
    """Bellec et al. 2020: every spike adds β to the threshold A."""
    (s, v, a), ys = state, []
    alpha, rho = decays(cell.log_tau), decays(cell.log_tau_adaptation)
    for x in xs:
        current = currents(cell, s, x)
        a = np.array([rho[n] * a[n] + s[n] for n in range(len(a))])
        v = np.array([alpha[n] * v[n] + current[n] - s[n] for n in range(len(v))])
        threshold = 1 + cell.beta * a
        s = np.where(v > threshold, 1.0, 0.0)
        ys.append(s)
    return (s, v, a), ys


def synaptic_lif(cell, state, xs):
    """Neftci et al. 2019: two exponentials, of the synapse and of the membrane."""
    (s, v, i), ys = state, []
    alpha, beta = decays(cell.log_tau_current), decays(cell.log_tau)
    for x in xs:
        current = currents(cell, s, x)
        i = np.array([alpha[n] * i[n] + current[n] for n in range(len(i))])
        v = np.array([beta[n] * v[n] + i[n] - s[n] for n in range(len(v))])
        s = np.where(v > 1, 1.0, 0.0)
        ys.append(s)
    return (s, v, i), ys


PAPERS = {
    seqmem.LIF: (lif, {"reset": seqmem.spikes.ToZero(), "is_recurrent": True}),
    seqmem.AdaptiveLIF: (adaptive_lif, {"beta": 0.7}),
    seqmem.SynapticLIF: (synaptic_lif, {"is_recurrent": True}),
}
