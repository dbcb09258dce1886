"""Attention with a cache in NumPy: each output from a list of all tokens so far.

A loop below is `paper(cell, state, xs) -> (state, ys)`, on a cell of NumPy arrays; PAPERS names a
cell's loop, and the cell's other arguments.
"""

import numpy as np

import seqmem
from tests.papers.windows import rotate


def normed(vector, n):
    return (1 + n) * vector / np.sqrt(np.mean(vector**2) + 1e-6)


def causal_attention(cell, cache, xs):
    """Vaswani et al. 2017, equation 1, over all tokens; Qwen3-Next's norm and gate."""
    _, groups, d = cache.key.shape
    keys, values, ys = [], [], []
    for t, x in enumerate(xs):
        k = (cell.W_k @ x + cell.b_k).reshape(groups, d)
        keys.append([rotate(normed(head, cell.n_k), t) for head in k])
        values.append((cell.W_v @ x + cell.b_v).reshape(groups, d))
        readings = []
        for h, q in enumerate((cell.W_q @ x + cell.b_q).reshape(-1, d)):
            group = h // (cell.num_heads // groups)
            q = rotate(normed(q, cell.n_q), t)
            products = np.array([q @ k[group] / np.sqrt(d) for k in keys])
            weights = np.exp(products) / np.sum(np.exp(products))
            readings.append(weights @ [v[group] for v in values])
        gate = 1 / (1 + np.exp(-(cell.W_g @ x + cell.b_g)))
        ys.append(cell.W_o @ (gate * np.concatenate(readings)) + cell.b_o)
    T = len(xs)
    key = np.concatenate([keys, cache.key[T:]])
    value = np.concatenate([values, cache.value[T:]])
    return (key, value, np.asarray(T, np.int32)), ys


OPTIONS = {"input_size": 5, "num_heads": 6, "num_key_value_heads": 3, "head_size": 4}
OPTIONS |= {"norm_qk": True, "gated": True, "bias": True, "output_bias": True}
PAPERS = {seqmem.CausalAttention: (causal_attention, OPTIONS | {"capacity": 11})}
