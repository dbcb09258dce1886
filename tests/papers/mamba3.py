"""The equations of Mamba-3 as a loop over heads, steps and ranks, in NumPy, with two writes per
step and complex numbers.
"""

import numpy as np

import seqmem
from tests.papers.gated import sigmoid
from tests.papers.heads import softplus


def normed(x, eps):
    return x / np.sqrt((x * x).mean() + eps)


def rotated(z, x):
    """The first channels of x as complex numbers, times z."""
    pairs = 2 * len(z)
    numbers = z * (x[0:pairs:2] + 1j * x[1:pairs:2])
    return np.concatenate([np.stack([numbers.real, numbers.imag], 1).ravel(), x[pairs:]])


def written(step, h):
    """Σ_r v_r k_rᵀ of one head."""
    keys, values = step
    return sum(np.outer(v, k) for k, v in zip(keys[h], values[h], strict=True))


def mamba3(cell, state, xs):
    """Lahoti et al. 2026: the recurrence of the authors' code."""
    rotation, steps, memory = cell.layers
    _, heads, rank, _ = steps.bias.shape
    z, window, matrices = state
    ones = np.ones((heads, rank, 1))
    up, down = (ones if leaf is None else leaf for leaf in (steps.up, memory.down))
    entries, ys = [tuple(leaf[1] for leaf in window)], []
    *before, weight = entries[-1]
    S = [matrices.matrix[h, 0] + weight[h] * written(before, h) for h in range(heads)]
    for x in xs:
        delta = softplus(rotation.W_delta @ x + rotation.b)
        z = z * np.exp(1j * np.pi * np.outer(delta, np.tanh(rotation.W_theta @ x)))
        alpha = np.exp(-delta * np.maximum(softplus(steps.W_A @ x), 1e-4))
        lam = sigmoid(steps.W_lambda @ x)
        v = np.split(steps.W_v @ x, heads)
        keys, queries, values = [], [], []
        for h in range(heads):
            turn, group = z[h] / abs(z[h]), h * steps.W_BC.shape[2] // heads
            BC = zip((keys, queries), steps.W_BC, steps.scale, steps.bias, strict=True)
            for rows, W, g, b in BC:
                rows.append(
                    [
                        rotated(turn, g * normed(W[r, group] @ x, steps.eps) + b[h, r])
                        for r in range(rank)
                    ]
                )
            values.append([up[h, r] * v[h] for r in range(rank)])
        now = np.array(keys), np.array(values)
        y = []
        for h in range(heads):
            S[h] = alpha[h] * S[h] + (1 - lam[h]) * delta[h] * alpha[h] * written(before, h)
            S[h] = S[h] + lam[h] * delta[h] * written(now, h)
            y.append(
                sum(
                    down[h, r] * (S[h] @ queries[h][r] + memory.D[h] * values[h][r])
                    for r in range(rank)
                )
            )
        ys.append(np.concatenate(y))
        before = now
        entries.append((*now, lam * delta))
    *_, weight = entries[-1]
    final = np.stack([S[h] - weight[h] * written(before, h) for h in range(heads)])[:, None]
    window = tuple(np.stack(leaves) for leaves in zip(*entries[-2:], strict=True))
    return (z, window, final), ys


PAPERS = {
    seqmem.Mamba3: (
        mamba3,
        {"hidden_size": 12, "num_heads": 4, "key_size": 5, "num_groups": 2, "rank": 3},
    ),
}
