"""The equations of the papers on memories that solve a system, in NumPy.

A loop is `paper(cell, state, xs) -> (state, ys)`, given a cell of NumPy arrays. PAPERS has the loop
of each cell, and the arguments of the cell other than its input size and key.
"""

import numpy as np

import seqmem
from tests.papers.gated import sigmoid
from tests.papers.heads import SIZES, silu, softplus, split_heads, unit, with_matrices


def conjugate_gradients(A, b, steps):
    x, r, p = np.zeros_like(b), b, b
    for _ in range(steps):
        alpha = (r @ r) / (p @ A @ p)
        x, new_r = x + alpha * p, r - alpha * A @ p
        p, r = new_r + (new_r @ new_r) / (r @ r) * p, new_r
    return x


def mesa_net(cell, memory, xs):
    """von Oswald et al. 2025, as in flash-linear-attention: conjugate gradients from 0."""
    S, size, ys = list(memory.matrix), cell.ridge.shape[1], []
    for x in xs:
        q, k, v = (split_heads(cell, W @ x) for W in (cell.W_q, cell.W_k, cell.W_v))
        gamma = sigmoid(cell.W_gamma @ x + cell.b_gamma)
        beta = sigmoid(cell.W_beta @ x + cell.b_beta)
        y = []
        for h in range(cell.num_heads):
            key = unit(silu(k[h]))
            S[h] = gamma[h] * S[h] + beta[h] * np.outer(np.concatenate([key, v[h]]), key)
            A = S[h][:size] + np.diag(0.25 + softplus(cell.ridge[h]))
            y.append(S[h][size:] @ conjugate_gradients(A, unit(silu(q[h])), cell.solver.steps))
        ys.append(np.concatenate(y))
    return with_matrices(memory, S), ys


def gated_kalma_net(cell, memory, xs):
    """Peng et al. 2025: Chebyshev iteration from 2 / (a + b) q, as in the authors' program."""
    S, ys = list(memory.matrix), []
    for x in xs:
        q, k, v = (split_heads(cell, silu(W @ x)) for W in (cell.W_q, cell.W_k, cell.W_v))
        gamma = np.exp(-np.exp(cell.A_log) * softplus(cell.W_gamma @ x + cell.b_gamma))
        beta = sigmoid(cell.W_beta @ x + cell.b_beta)
        alpha = sigmoid(cell.W_alpha @ x + cell.b_alpha)
        y = []
        for h in range(cell.num_heads):
            key, query = beta[h] * unit(k[h]), unit(q[h])
            S[h] = gamma[h] * S[h] + np.outer(np.concatenate([key, beta[h] * v[h]]), key)
            H, U = S[h][: len(key)], S[h][len(key) :]
            norm = np.linalg.norm(H)
            A, omega = H + cell.ridge * norm * np.eye(len(key)), 2
            size = 2 / ((1 + 2 * cell.ridge) * norm)
            before, solution = np.zeros_like(query), size * query
            for _ in range(cell.solver.steps):
                omega = 1 / (1 - (size * norm / 4) ** 2 * omega)
                step = omega * (solution - size * (A @ solution - query))
                before, solution = solution, step - (omega - 1) * before
            query = alpha[h] * solution + (1 - alpha[h]) * query
            y.append(U @ query / np.sqrt(len(key)))
        ys.append(np.concatenate(y))
    return with_matrices(memory, S), ys


PAPERS = {
    seqmem.MesaNet: (mesa_net, SIZES | {"key_size": 5, "solver": seqmem.ConjugateGradients(2)}),
    seqmem.GatedKalmaNet: (
        gated_kalma_net,
        SIZES | {"key_size": 5, "solver": seqmem.Chebyshev(3), "ridge": 0.5},
    ),
}
