"""The equations of the papers on attention to slots as loops over heads and steps, in NumPy.

A loop is `paper(cell, state, xs) -> (state, ys)`, given a cell of NumPy arrays. PAPERS has the loop
of each cell, and the arguments of the cell other than its input size and key.
"""

import numpy as np

import seqmem
from tests.papers.gated import sigmoid
from tests.papers.heads import SIZES, silu, split_heads, with_matrices


def gsa(cell, memories, xs):
    """Zhang et al. 2024, with the activations of the authors' flash-linear-attention."""
    keys, values = cell.layers
    K, V = ([head.T for head in memory.matrix] for memory in memories)
    ys = []
    for x in xs:
        leaves = (silu(W @ x) for W in (keys.W_q, keys.W_k, values.W_v))
        q, k, v = (split_heads(keys, leaf) for leaf in leaves)
        alpha = split_heads(keys, sigmoid(keys.W_alpha @ x) ** (1 / 8))
        y = []
        for h in range(keys.num_heads):
            K[h] = np.diag(alpha[h]) @ K[h] + np.outer(1 - alpha[h], k[h])
            V[h] = np.diag(alpha[h]) @ V[h] + np.outer(1 - alpha[h], v[h])
            y.append(V[h].T @ softmax(K[h] @ q[h]))
        ys.append(np.concatenate(y))
    return slot_states(memories, (K, V)), ys


def abc(cell, state, xs):
    """Peng et al. 2021, ABC_MLP in its causal form, with means that are updated in place."""
    slots, keys, values = cell.layers
    n, *memories = state
    n = list(n)
    K, V = ([(head / n[h]).T for h, head in enumerate(memory.matrix)] for memory in memories)
    ys = []
    for x in xs:
        q, k, v = (split_heads(keys, W @ x) for W in (keys.W_q, keys.W_k, values.W_v))
        e = split_heads(keys, np.exp(slots.W_c @ x))
        y = []
        for h in range(keys.num_heads):
            n[h] = n[h] + e[h]
            K[h] = K[h] + np.diag(e[h] / n[h]) @ (k[h] - K[h])
            V[h] = V[h] + np.diag(e[h] / n[h]) @ (v[h] - V[h])
            y.append(V[h].T @ softmax(K[h] @ q[h] / np.sqrt(len(q[h]))))
        ys.append(np.concatenate(y))
    sums = ([n[h][:, None] * head for h, head in enumerate(heads)] for heads in (K, V))
    return (np.stack(n), *slot_states(memories, sums)), ys


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def slot_states(memories, matrices):
    return tuple(
        with_matrices(memory, [head.T for head in heads])
        for memory, heads in zip(memories, matrices, strict=True)
    )


PAPERS = {
    seqmem.GSA: (gsa, SIZES | {"key_size": 5, "num_slots": 7}),
    seqmem.ABC: (abc, SIZES | {"key_size": 5, "num_slots": 7}),
}
