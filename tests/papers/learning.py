"""The equations of memories that learn while they read, as loops over heads and steps, in NumPy.

The gradients of the inner models are by hand. A loop is `paper(cell, state, xs) -> (state, ys)`,
given a cell of NumPy arrays. PAPERS has the loop of every cell, and the arguments of the cell other
than its input size and key.
"""

import math

import numpy as np

import seqmem
from tests.papers.gated import sigmoid
from tests.papers.heads import silu, unit

BATCH = 3  # steps of a mini-batch: 7 steps are two, and one step of a third
erf = np.vectorize(math.erf)


def rotate(x, step):
    """RoPE of the step of the mini-batch, from 0 on."""
    pairs = x[::2] + 1j * x[1::2]
    pairs = pairs * np.exp(1j * step * 10_000.0 ** (-np.arange(0, len(x), 2) / len(x)))
    return np.stack([pairs.real, pairs.imag], -1).ravel()


def layer_norm(z):
    """The normalised vector, and the number it was divided by."""
    centred = z - z.mean()
    deviation = np.sqrt((centred**2).mean() + 1e-6)
    return centred / deviation, deviation


def layer_norm_backward(normalised, deviation, gradient):
    """The gradient of z, from the gradient of layer_norm(z)."""
    along = (gradient * normalised).mean()
    return (gradient - gradient.mean() - normalised * along) / deviation


def gelu(x):
    """GELU in its form with tanh, and its derivative."""
    slope = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)
    t = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    return x * (1 + t) / 2, (1 + t) / 2 + x * (1 - t**2) * slope / 2


def exact_gelu(x):
    """GELU, and its derivative."""
    phi = (1 + erf(x / np.sqrt(2))) / 2
    return x * phi, phi + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


def linear_model(weights, x):
    """The output, and the gradients of the weights as a function of that of the output."""
    W, b = weights
    return W @ x + b, lambda d_z: (np.outer(d_z, x), d_z)


def mlp_model(weights, x):
    W_1, b_1, W_2, b_2 = weights
    hidden, slope = gelu(W_1 @ x + b_1)

    def pull(d_z):
        d_1 = (W_2.T @ d_z) * slope
        return np.outer(d_1, x), d_1, np.outer(d_z, hidden), d_z

    return W_2 @ hidden + b_2, pull


def ttt(model):
    """Sun et al. 2024: their primal form, one head and one step after another."""

    def paper(cell, state, xs):
        heads, size = cell.gamma.shape
        b = len(cell.scale)

        def predict(h, weights, x):
            z, pull = model(weights, x)
            normalised, deviation = layer_norm(z)
            return x + cell.gamma[h] * normalised + cell.beta[h], normalised, deviation, pull

        start = [[leaf[h] for leaf in state.weights] for h in range(heads)]
        G = [[leaf[h] for leaf in state.gradients] for h in range(heads)]
        i, ys = int(state.step_count), []
        for x in xs:
            if i == b:
                start, G, i = now, [[0 * leaf for leaf in G[h]] for h in range(heads)], 0
            factor = max(1 / (i + 1) + cell.scale[i], 0)
            now, y = [], []
            for h in range(heads):
                q, k, v = (np.split(W @ x, heads)[h] for W in (cell.W_q, cell.W_k, cell.W_v))
                eta = cell.base_lr / size * sigmoid(cell.W_eta[h] @ x + cell.b_eta[h])
                prediction, normalised, deviation, pull = predict(h, start[h], rotate(k, i))
                d_normalised = cell.gamma[h] * (prediction - v)
                d_weights = pull(layer_norm_backward(normalised, deviation, d_normalised))
                G[h] = [g + eta * d for g, d in zip(G[h], d_weights, strict=True)]
                now.append([W - factor * g for W, g in zip(start[h], G[h], strict=True)])
                y.append(predict(h, now[h], rotate(q, i))[0])
            ys.append(np.concatenate(y))
            i += 1
        weights, gradients = (
            type(state.weights)(*map(np.stack, zip(*heads_of, strict=True)))
            for heads_of in (start, G)
        )
        return state._replace(weights=weights, gradients=gradients, step_count=np.int32(i)), ys

    return paper


def titans(cell, state, xs):
    """Behrouz et al. 2024, equations 11 to 16 and 18."""
    heads = len(cell.b_alpha)
    M, S, start = (
        [[leaf[h] for leaf in tree] for h in range(heads)]
        for tree in (state.memory, state.momentum, state.start)
    )
    i, ys = int(state.step_count), []
    for x in xs:
        if i == cell.mini_batch_size:
            start, i = [list(head) for head in M], 0
        y = []
        for h in range(heads):
            q, k, v = (np.split(silu(W @ x), heads)[h] for W in (cell.W_q, cell.W_k, cell.W_v))
            alpha, eta, theta = (
                sigmoid(W[h] @ x + b[h])
                for W, b in (
                    (cell.W_alpha, cell.b_alpha),
                    (cell.W_eta, cell.b_eta),
                    (cell.W_theta, cell.b_theta),
                )
            )
            (W_1, W_2), key = start[h], unit(k)
            hidden, slope = exact_gelu(W_1 @ key)
            error = 2 * (W_2 @ hidden - v)
            gradients = np.outer((W_2.T @ error) * slope, key), np.outer(error, hidden)
            S[h] = [eta * s - theta * g for s, g in zip(S[h], gradients, strict=True)]
            M[h] = [(1 - alpha) * m + s for m, s in zip(M[h], S[h], strict=True)]
            y.append(M[h][1] @ exact_gelu(M[h][0] @ unit(q))[0])
        ys.append(np.concatenate(y))
        i += 1
    trees = (tuple(map(np.stack, zip(*tree, strict=True))) for tree in (M, S, start))
    return type(state)(*trees, np.int32(i)), ys


SIZES = {"hidden_size": 12, "num_heads": 3, "mini_batch_size": BATCH}
PAPERS = {
    seqmem.TTTLinear: (ttt(linear_model), SIZES),
    seqmem.TTTMLP: (ttt(mlp_model), SIZES),
    seqmem.Titans: (titans, SIZES | {"inner_size": 5}),
}
