"""The equations of the papers on linear attention as loops over heads and steps, in NumPy.

A loop is `paper(cell, state, xs) -> (state, ys)`, given a cell of NumPy arrays. PAPERS has the loop
of each cell, and the arguments of the cell other than its input size and key.
"""

import numpy as np

import seqmem
from tests.papers.gated import sigmoid
from tests.papers.heads import HEADS, SIZES, silu, softplus, split_heads, with_matrices


def linear_attention(cell, memory, xs):
    """Katharopoulos et al. 2020, equations 18 to 20."""

    def phi(x):
        return np.where(x > 0, x + 1, np.exp(x))

    S = [list(head[:-1]) for head in memory.matrix]
    z = [head[-1] for head in memory.matrix]
    ys = []
    for x in xs:
        q, k, v = (split_heads(cell, W @ x) for W in (cell.W_q, cell.W_k, cell.W_v))
        y = []
        for h in range(cell.num_heads):
            S[h] = S[h] + np.outer(v[h], phi(k[h]))
            z[h] = z[h] + phi(k[h])
            y.append(S[h] @ phi(q[h]) / (z[h] @ phi(q[h])))
        ys.append(np.concatenate(y))
    return with_matrices(memory, [np.vstack([S[h], z[h]]) for h in range(cell.num_heads)]), ys


def ret_net(cell, memory, xs):
    """Sun et al. 2023, equations 6 and 8, without rotation."""
    S, ys = list(memory.matrix), []
    for x in xs:
        q, k, v = (split_heads(cell, W @ x) for W in (cell.W_q, cell.W_k, cell.W_v))
        for h in range(cell.num_heads):
            gamma = 1 - 2.0 ** (-5 - h)
            S[h] = gamma * S[h] + np.outer(v[h], k[h]) / np.sqrt(len(k[h]))
        ys.append(np.concatenate([S[h] @ q[h] for h in range(cell.num_heads)]))
    return with_matrices(memory, S), ys


def lightning_attention(cell, memory, xs):
    """MiniMax 2025, as in transformers' MiniMaxLightningAttention."""
    S, ys, heads = list(memory.matrix), [], cell.num_heads
    for x in xs:
        leaves = (silu(W @ x) for W in (cell.W_q, cell.W_k, cell.W_v))
        q, k, v = (split_heads(cell, leaf) for leaf in leaves)
        for h in range(heads):
            slope = (1 / 2 ** (8 / heads)) ** (h + 1)
            slope = slope * (1 - cell.layer / (cell.num_layers - 1 + 1e-5) + 1e-5)
            S[h] = np.exp(-slope) * S[h] + np.outer(v[h], k[h])
        ys.append(np.concatenate([S[h] @ q[h] for h in range(heads)]))
    return with_matrices(memory, S), ys


def gla(cell, memory, xs):
    """Yang et al. 2023, equation 3 and section 4.4."""
    S, ys = list(memory.matrix), []
    for x in xs:
        q, k, v = (split_heads(cell, W @ x) for W in (cell.W_q, cell.W_k, cell.W_v))
        alpha = split_heads(cell, sigmoid(cell.W_a @ cell.V_a @ x + cell.b) ** (1 / 16))
        for h in range(cell.num_heads):
            S[h] = S[h] @ np.diag(alpha[h]) + np.outer(v[h], k[h])
        ys.append(np.concatenate([S[h] @ q[h] for h in range(cell.num_heads)]))
    return with_matrices(memory, S), ys


def hgrn2(cell, memory, xs):
    """Qin et al. 2024, with the activations of the authors' hgru2-pytorch."""
    S, ys = list(memory.matrix), []
    for x in xs:
        f = cell.lower_bound + (1 - cell.lower_bound) * sigmoid(cell.W_f @ x)
        f, i, o = (
            split_heads(cell, leaf) for leaf in (f, silu(cell.W_i @ x), sigmoid(cell.W_o @ x))
        )
        for h in range(cell.num_heads):
            S[h] = S[h] @ np.diag(f[h]) + np.outer(i[h], 1 - f[h])
        ys.append(np.concatenate([S[h] @ o[h] for h in range(cell.num_heads)]))
    return with_matrices(memory, S), ys


def ssd(cell, memory, xs):
    """Dao & Gu 2024: the recurrence of section 2, discretised as in their code."""
    count = len(cell.b)
    S = list(memory.matrix.reshape(count, *memory.matrix.shape[2:]))
    ys = []
    for x in xs:
        delta = softplus(cell.W_delta @ x + cell.b)
        v = np.split(cell.W_v @ x, count)
        B, C = (np.split(W @ x, cell.num_groups) for W in (cell.W_B, cell.W_C))
        y = []
        for h in range(count):
            group = h * cell.num_groups // count
            decay = np.exp(-np.exp(cell.A_log[h]) * delta[h])
            S[h] = decay * S[h] + delta[h] * np.outer(v[h], B[group])
            y.append(S[h] @ C[group] + cell.D[h] * v[h])
        ys.append(np.concatenate(y))
    return memory._replace(matrix=np.stack(S).reshape(memory.matrix.shape)), ys


def mlstm(cell, memory, xs):
    """Beck et al. 2024, equations 19 to 27, without a stabiliser."""
    m = memory.log_scale[:, 0]
    C = [np.exp(m[h]) * head[:-1] for h, head in enumerate(memory.matrix)]
    n = [np.exp(m[h]) * head[-1] for h, head in enumerate(memory.matrix)]
    ys = []
    for x in xs:
        q, k, v, o = (W @ x + b for W, b in zip(cell.W, cell.b, strict=True))
        q, k, v = (split_heads(cell, leaf) for leaf in (q, k, v))
        log_i, f = cell.w_i @ x + cell.b_i, sigmoid(cell.w_f @ x + cell.b_f)
        y = []
        for h in range(cell.num_heads):
            key = k[h] / np.sqrt(len(k[h]))
            C[h] = f[h] * C[h] + np.exp(log_i[h]) * np.outer(v[h], key)
            n[h] = f[h] * n[h] + np.exp(log_i[h]) * key
            y.append(C[h] @ q[h] / max(abs(n[h] @ q[h]), 1))
        ys.append(sigmoid(o) * np.concatenate(y))
        m = np.maximum(np.log(f) + m, log_i)
    C = [np.vstack([C[h], n[h]]) / np.exp(m[h]) for h in range(cell.num_heads)]
    return memory._replace(matrix=np.stack(C), log_scale=m[:, None]), ys


def rwkv6(cell, memory, xs):
    """Peng et al. 2024, as in RWKV-LM: the memory is read before the write."""
    S, ys = [head[:, :-1] for head in memory.matrix], []
    readings = [head[:, -1] for head in memory.matrix]
    for x in xs:
        w = np.exp(-np.exp(cell.w_0 + cell.W_w @ np.tanh(cell.V_w @ x)))
        leaves = (cell.W_r @ x, cell.W_k @ x, cell.W_v @ x, w, cell.u)
        r, k, v, w, u = (split_heads(cell, leaf) for leaf in leaves)
        y = []
        for h in range(cell.num_heads):
            written = np.outer(v[h], k[h])
            readings[h] = S[h] @ r[h]
            y.append((S[h] + written @ np.diag(u[h])) @ r[h])
            S[h] = S[h] * w[h] + written
        ys.append(np.concatenate(y))
    return with_matrices(memory, [np.c_[S[h], readings[h]] for h in range(cell.num_heads)]), ys


PAPERS = {
    seqmem.LinearAttention: (linear_attention, SIZES | {"key_size": 5}),
    seqmem.RetNet: (ret_net, SIZES | {"key_size": 5}),
    seqmem.LightningAttention: (
        lightning_attention,
        SIZES | {"key_size": 5, "layer": 1, "num_layers": 3},
    ),
    seqmem.GLA: (gla, SIZES | {"key_size": 5, "rank": 7}),
    seqmem.HGRN2: (hgrn2, SIZES | {"lower_bound": 0.25}),
    seqmem.SSD: (ssd, {"hidden_size": 12, "num_heads": 6, "key_size": 5, "num_groups": HEADS}),
    seqmem.MLSTM: (mlstm, SIZES),
    seqmem.RWKV6: (rwkv6, SIZES | {"key_size": 5, "rank": 7}),
}
