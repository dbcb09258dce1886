"""The papers of the networks of neuroscience, in NumPy, entry by entry; loops as in `gated`."""

import numpy as np

import seqmem


def leaky_rnn(cell, h, xs):
    """Rates that follow φ of their input; U of rank two with a random part."""
    factors = cell.U.parameters
    pairs = zip(factors["M"].T, factors["N"].T, strict=True)
    U = sum(np.outer(m, n) for m, n in pairs) / len(h) + 0.5 * factors["chi"]
    keep, ys = np.exp(-cell.dt / np.exp(cell.log_tau)), []
    for x in xs:
        target = np.maximum(U @ h + cell.W @ x + cell.b, 0)
        h = target + keep * (h - target)
        ys.append(h)
    return h, ys


def ctrnn(cell, x, us):
    """Currents that follow U φ(x) + W u + b; the first three units excite, two inhibit."""
    W = np.abs(cell.U.parameters) @ np.diag([1, 1, 1, -1, -1])
    np.fill_diagonal(W, 0)
    keep, ys = np.exp(-cell.dt / np.exp(cell.log_tau)), []
    for u in us:
        target = W @ np.tanh(x) + cell.W @ u + cell.b
        x = target + keep * (x - target)
        ys.append(np.tanh(x))
    return x, ys


def plrnn(cell, z, xs):
    """Durstewitz 2017: W has no entries on its diagonal."""
    W, ys = np.array(cell.W.parameters), []
    np.fill_diagonal(W, 0)
    for x in xs:
        z = np.diag(cell.A) @ z + W @ np.maximum(z, 0) + cell.C @ x + cell.h
        ys.append(z)
    return z, ys


def al_rnn(cell, z, xs):
    """Brenner et al. 2024: the last units are rectified."""
    ys = []
    for x in xs:
        phi = np.concatenate([z[:-3], np.maximum(z[-3:], 0)])
        z = cell.A * z + cell.W @ phi + cell.C @ x + cell.h
        ys.append(z)
    return z, ys


DALE = seqmem.Sparse(~np.eye(5, dtype=bool), seqmem.Dale(0.6))
TIMES = {"time_constants": np.array([1.0, 2.0, 3.0, 5.0, 7.0]), "dt": 0.5}
PAPERS = {
    seqmem.LeakyRNN: (leaky_rnn, {"recurrent": seqmem.LowRank(2, random_gain=0.5)} | TIMES),
    seqmem.CTRNN: (ctrnn, {"recurrent": DALE} | TIMES),
    seqmem.PLRNN: (plrnn, {}),
    seqmem.ALRNN: (al_rnn, {"num_rectified": 3}),
}
