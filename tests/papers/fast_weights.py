"""The equations of the fast-weight cells' papers as loops over heads and steps, in NumPy.

A loop is `paper(cell, state, xs) -> (state, ys)`, given a cell of NumPy arrays. PAPERS has the loop
of every cell, and the arguments of the cell other than its input size and key.
"""

import numpy as np

import seqmem
from tests.papers.gated import sigmoid

HEADS, WRITES = 3, 2


def silu(x):
    return x * sigmoid(x)


def softplus(x):
    return np.logaddexp(0, x)


def unit(x):
    return x / np.sqrt((x * x).sum() + 1e-6)


def split_heads(cell, x):
    """One array per head."""
    return np.split(x, cell.num_heads)


def with_matrices(memory, matrices):
    return memory._replace(matrix=np.stack(matrices))


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


SIZES = {"hidden_size": 6, "num_heads": HEADS}
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
    seqmem.DeltaRule: (delta_rule, SIZES | {"key_size": 5, "beta_max": 2.0}),
    seqmem.GatedDeltaRule: (gated_delta_rule, SIZES | {"key_size": 5}),
    seqmem.GatedDeltaRule2: (gated_delta_rule_2, SIZES | {"key_size": 5, "beta_max": 2.0}),
    seqmem.MomentumDeltaRule: (momentum_delta_rule, SIZES | {"key_size": 5}),
    seqmem.DeltaProduct: (delta_product, SIZES | {"key_size": 5, "num_writes": WRITES}),
    seqmem.Comba: (comba, SIZES | {"key_size": 5}),
    seqmem.KDA: (kda, SIZES | {"key_size": 5, "beta_max": 2.0}),
    seqmem.GatedOjaRule: (gated_oja_rule, SIZES | {"key_size": 5}),
    seqmem.RWKV6: (rwkv6, SIZES | {"key_size": 5, "rank": 7}),
    seqmem.MesaNet: (mesa_net, SIZES | {"key_size": 5, "solver": seqmem.ConjugateGradients(2)}),
    seqmem.GatedKalmaNet: (
        gated_kalma_net,
        SIZES | {"key_size": 5, "solver": seqmem.Chebyshev(3), "ridge": 0.5},
    ),
    seqmem.GSA: (gsa, SIZES | {"key_size": 5, "num_slots": 7}),
    seqmem.ABC: (abc, SIZES | {"key_size": 5, "num_slots": 7}),
    seqmem.RWKV7: (rwkv7, SIZES | {"rank": 5}),
}
