"""The equations of the papers on delta rules as loops over heads and steps, in NumPy.

A loop is `paper(cell, state, xs) -> (state, ys)`, given a cell of NumPy arrays. PAPERS has the loop
of each cell, and the arguments of the cell other than its input size and key.
"""

import numpy as np

import seqmem
from tests.papers.gated import sigmoid
from tests.papers.heads import SIZES, WRITES, silu, softplus, split_heads, unit, with_matrices


def delta_rule(cell, memory, xs):
    """Yang et al. 2024, section 2.2; β up to 2 as in Grazzi et al. 2024."""
    S, ys = list(memory.matrix), []
    for x in xs:
        q, k, v = (split_heads(cell, silu(W @ x)) for W in (cell.W_q, cell.W_k, cell.W_v))
        beta = cell.beta_max * sigmoid(cell.W_beta @ x)
        for h in range(cell.num_heads):
            key = unit(k[h])
            old = S[h] @ key
            S[h] = S[h] - beta[h] * np.outer(old - v[h], key)
        ys.append(np.concatenate([S[h] @ unit(q[h]) for h in range(cell.num_heads)]))
    return with_matrices(memory, S), ys


def gated_delta_rule(cell, memory, xs):
    """Yang, Kautz & Hatamizadeh 2024, third version, equation 10."""
    S, ys = list(memory.matrix), []
    for x in xs:
        q, k, v = (split_heads(cell, silu(W @ x)) for W in (cell.W_q, cell.W_k, cell.W_v))
        beta = cell.beta_max * sigmoid(cell.W_beta @ x)
        alpha = np.exp(-np.exp(cell.A_log) * softplus(cell.W_alpha @ x + cell.b))
        for h in range(cell.num_heads):
            key = unit(k[h])
            transition = alpha[h] * (np.eye(len(key)) - beta[h] * np.outer(key, key))
            S[h] = S[h] @ transition + beta[h] * np.outer(v[h], key)
        ys.append(np.concatenate([S[h] @ unit(q[h]) for h in range(cell.num_heads)]))
    return with_matrices(memory, S), ys


def gated_delta_rule_2(cell, memory, xs):
    """Hatamizadeh, Choi & Kautz 2026: decay, read what is erased, write what is new."""
    S, ys = list(memory.matrix), []
    for x in xs:
        leaves = (silu(W @ x) for W in (cell.W_q, cell.W_k, cell.W_v))
        q, k, v = (split_heads(cell, leaf) for leaf in leaves)
        b = split_heads(cell, cell.beta_max * sigmoid(cell.W_b @ x))
        w = split_heads(cell, sigmoid(cell.W_w @ x))
        step = split_heads(cell, softplus(cell.W_alpha @ cell.V_alpha @ x + cell.dt_bias))
        for h in range(cell.num_heads):
            key, alpha = unit(k[h]), np.exp(-np.exp(cell.A_log[h]) * step[h])
            decayed = S[h] * alpha
            S[h] = decayed + np.outer(w[h] * v[h] - decayed @ (b[h] * key), key)
        ys.append(np.concatenate([S[h] @ unit(q[h]) for h in range(cell.num_heads)]))
    return with_matrices(memory, S), ys


def momentum_delta_rule(cell, memory, xs):
    """Behrouz et al. 2024, equations 11 to 15 with M(k) = W k, in our letters."""
    S, M = np.split(memory.matrix, 2, -1)
    S, M, ys = list(S), list(M), []
    for x in xs:
        q, k, v = (split_heads(cell, silu(W @ x)) for W in (cell.W_q, cell.W_k, cell.W_v))
        alpha = sigmoid(cell.W_alpha @ x + cell.b_alpha)
        eta = sigmoid(cell.W_eta @ x + cell.b_eta)
        theta = sigmoid(cell.W_theta @ x + cell.b_theta)
        for h in range(cell.num_heads):
            key = unit(k[h])
            gradient = np.outer(S[h] @ key - v[h], key)
            M[h] = eta[h] * M[h] - theta[h] * gradient
            S[h] = alpha[h] * S[h] + M[h]
        ys.append(np.concatenate([S[h] @ unit(q[h]) for h in range(cell.num_heads)]))
    return with_matrices(memory, [np.hstack(pair) for pair in zip(S, M, strict=True)]), ys


def delta_product(cell, memory, xs):
    """Siems et al. 2025, without a forget gate."""
    S, ys = list(memory.matrix), []
    for x in xs:
        for j in range(len(cell.W_k)):
            k, v = (split_heads(cell, silu(W[j] @ x)) for W in (cell.W_k, cell.W_v))
            beta = cell.beta_max * sigmoid(cell.W_beta[j] @ x)
            for h in range(cell.num_heads):
                key = unit(k[h])
                reflection = np.eye(len(key)) - beta[h] * np.outer(key, key)
                S[h] = S[h] @ reflection + beta[h] * np.outer(v[h], key)
        q = split_heads(cell, silu(cell.W_q @ x))
        ys.append(np.concatenate([S[h] @ unit(q[h]) for h in range(cell.num_heads)]))
    return with_matrices(memory, S), ys


def comba(cell, memory, xs):
    """Hu et al. 2025, with the value read before the decay."""
    S, ys = list(memory.matrix), []
    for x in xs:
        leaves = (silu(W @ x) for W in (cell.W_q, cell.W_k, cell.W_v))
        q, k, v = (split_heads(cell, leaf) for leaf in leaves)
        beta, b = sigmoid(cell.W_beta @ x), sigmoid(cell.b_0)
        alpha = np.exp(-np.exp(cell.A_log) * softplus(cell.W_alpha @ x + cell.dt_bias))
        y = []
        for h in range(cell.num_heads):
            key = unit(k[h])
            error = v[h] - S[h] @ (b[h] * key)
            S[h] = alpha[h] * S[h] + beta[h] * np.outer(error, key)
            y.append(S[h] @ (unit(q[h]) - cell.d[h] * key))
        ys.append(np.concatenate(y))
    return with_matrices(memory, S), ys


def kda(cell, memory, xs):
    """Kimi Team 2025, equation 1 and section 4; β up to 2 as in Grazzi et al. 2024."""
    S, ys = list(memory.matrix), []
    for x in xs:
        q, k, v = (split_heads(cell, silu(W @ x)) for W in (cell.W_q, cell.W_k, cell.W_v))
        beta = cell.beta_max * sigmoid(cell.W_beta @ x)
        step = split_heads(cell, softplus(cell.W_alpha @ cell.V_alpha @ x + cell.b))
        for h in range(cell.num_heads):
            key, alpha = unit(k[h]), np.exp(-np.exp(cell.A_log[h]) * step[h])
            decayed = S[h] * alpha
            S[h] = decayed - beta[h] * np.outer(decayed @ key - v[h], key)
        ys.append(np.concatenate([S[h] @ unit(q[h]) for h in range(cell.num_heads)]))
    return with_matrices(memory, S), ys


def gated_oja_rule(cell, memory, xs):
    """Hu, "Operator Derivation for Gated OJA Rule", section 1.3. The state holds Mᵀ."""
    M, ys = [head.T for head in memory.matrix], []
    for x in xs:
        q, k, v = (split_heads(cell, silu(W @ x)) for W in (cell.W_q, cell.W_k, cell.W_v))
        beta = sigmoid(cell.W_beta @ x)
        step = split_heads(cell, softplus(cell.W_alpha @ cell.V_alpha @ x + cell.b))
        for h in range(cell.num_heads):
            value, alpha = unit(v[h]), np.exp(-np.exp(cell.A_log[h]) * step[h])
            removal = np.eye(len(value)) - beta[h] * np.outer(value, value)
            M[h] = removal @ np.diag(alpha) @ M[h] + beta[h] * np.outer(value, k[h])
        ys.append(np.concatenate([M[h] @ q[h] / np.sqrt(len(q[h])) for h in range(cell.num_heads)]))
    return with_matrices(memory, [head.T for head in M]), ys


def rwkv7(cell, memory, xs):
    """Peng et al. 2025, equations 4 to 20, and their reading without its norm."""
    S, ys = list(memory.matrix), []
    for x in xs:
        k = cell.W_k @ x
        w = np.exp(-np.exp(-0.5) * sigmoid(cell.w_0 + cell.W_w @ np.tanh(cell.V_w @ x)))
        a = sigmoid(cell.a_0 + cell.W_a @ cell.V_a @ x)
        written_key = k * (1 + (a - 1) * cell.alpha)
        leaves = (cell.W_r @ x, cell.W_v @ x, written_key, cell.xi * k, w, a, cell.rho)
        r, v, written_key, kappa, w, a, rho = (split_heads(cell, leaf) for leaf in leaves)
        y = []
        for h in range(cell.num_heads):
            removed = unit(kappa[h])
            transition = np.diag(w[h]) - np.outer(removed, a[h] * removed)
            S[h] = S[h] @ transition + np.outer(v[h], written_key[h])
            y.append(S[h] @ r[h] + (r[h] @ (rho[h] * written_key[h])) * v[h])
        ys.append(np.concatenate(y))
    return with_matrices(memory, S), ys


PAPERS = {
    seqmem.DeltaRule: (delta_rule, SIZES | {"key_size": 5, "beta_max": 2.0}),
    seqmem.GatedDeltaRule: (gated_delta_rule, SIZES | {"key_size": 5}),
    seqmem.GatedDeltaRule2: (gated_delta_rule_2, SIZES | {"key_size": 5, "beta_max": 2.0}),
    seqmem.MomentumDeltaRule: (momentum_delta_rule, SIZES | {"key_size": 5}),
    seqmem.DeltaProduct: (delta_product, SIZES | {"key_size": 5, "num_writes": WRITES}),
    seqmem.Comba: (comba, SIZES | {"key_size": 5}),
    seqmem.KDA: (kda, SIZES | {"key_size": 5, "beta_max": 2.0}),
    seqmem.GatedOjaRule: (gated_oja_rule, SIZES | {"key_size": 5}),
    seqmem.RWKV7: (rwkv7, SIZES | {"rank": 5}),
}
