"""The papers of the cells with a matrix in their recurrence, in NumPy, gate by gate.

A loop below is `paper(cell, state, xs) -> (state, ys)`, on a cell of NumPy arrays; PAPERS names a
cell's loop, and the cell's other arguments.
"""

import numpy as np

import seqmem


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def pre_activation(cell, name, x, h):
    """W x + U h + b of one gate."""
    gate = seqmem.gate(cell, name)
    return gate.W @ x + gate.U @ h + gate.b


def elman(cell, h, xs):
    """Elman 1990: the hidden units see the input and a copy of themselves from before."""
    ys = []
    for x in xs:
        context = h
        h = np.tanh(cell.W @ x + cell.U @ context + cell.b)
        ys.append(cell.V @ h)
    return h, ys


def independent(cell, h, xs):
    """Li et al. 2018, equation 2, unit by unit."""
    ys = []
    for x in xs:
        sums = [cell.W[n] @ x + cell.u[n] * h[n] + cell.b[n] for n in range(len(h))]
        h = np.maximum(sums, 0)
        ys.append(h)
    return h, ys


def lstm(cell, state, xs):
    """Hochreiter & Schmidhuber 1997, the memory scaled by Gers et al.'s forget gate."""
    (h, c), ys = state, []
    for x in xs:
        i = sigmoid(pre_activation(cell, "input", x, h))
        f = sigmoid(pre_activation(cell, "forget", x, h))
        o = sigmoid(pre_activation(cell, "output", x, h))
        c = f * c + i * np.tanh(pre_activation(cell, "cell", x, h))
        h = o * np.tanh(c)
        ys.append(h)
    return (h, c), ys


def peephole_lstm(cell, state, xs):
    """Graves 2013, equations 7 to 11: matrices from the memory to the gates, all diagonal."""
    (h, c), ys = state, []
    W_ci, W_cf, W_co = (np.diag(p) for p in cell.p)
    for x in xs:
        i = sigmoid(pre_activation(cell, "input", x, h) + W_ci @ c)
        f = sigmoid(pre_activation(cell, "forget", x, h) + W_cf @ c)
        c = f * c + i * np.tanh(pre_activation(cell, "cell", x, h))
        o = sigmoid(pre_activation(cell, "output", x, h) + W_co @ c)
        h = o * np.tanh(c)
        ys.append(h)
    return (h, c), ys


def projected_lstm(cell, state, xs):
    """Sak et al. 2014, equations 7 to 12, without peepholes: r is what comes back."""
    (m, c), ys = state, []
    r = cell.R @ m
    for x in xs:
        i = sigmoid(pre_activation(cell, "input", x, r))
        f = sigmoid(pre_activation(cell, "forget", x, r))
        c = f * c + i * np.tanh(pre_activation(cell, "cell", x, r))
        o = sigmoid(pre_activation(cell, "output", x, r))
        m = o * np.tanh(c)
        r = cell.R @ m
        ys.append(r)
    return (m, c), ys


def gru(cell, h, xs):
    """PyTorch's and cuDNN's form: the reset gate multiplies U_n h + c, not h."""
    n, ys = seqmem.gate(cell, "candidate"), []
    for x in xs:
        r = sigmoid(pre_activation(cell, "reset", x, h))
        z = sigmoid(pre_activation(cell, "update", x, h))
        candidate = np.tanh(n.W @ x + n.b + r * (n.U @ h + cell.c))
        h = z * h + (1 - z) * candidate
        ys.append(h)
    return h, ys


def reset_before_gru(cell, h, xs):
    """Cho et al. 2014, equations 5 to 8."""
    ys = []
    for x in xs:
        r = sigmoid(pre_activation(cell, "reset", x, h))
        z = sigmoid(pre_activation(cell, "update", x, h))
        h = z * h + (1 - z) * np.tanh(pre_activation(cell, "candidate", x, r * h))
        ys.append(h)
    return h, ys


def mgu(cell, h, xs):
    """Zhou et al. 2016, equations 7a to 7c, whose matrices see [h, x] at once."""
    forget, candidate = seqmem.gate(cell, "forget"), seqmem.gate(cell, "candidate")
    W_f, W_h = (np.hstack([gate.U, gate.W]) for gate in (forget, candidate))
    ys = []
    for x in xs:
        f = sigmoid(W_f @ np.concatenate([h, x]) + forget.b)
        new = np.tanh(W_h @ np.concatenate([f * h, x]) + candidate.b)
        h = (1 - f) * h + f * new
        ys.append(h)
    return h, ys


def reset_after_mgu(cell, h, xs):
    """Flax's `MGUCell`: one gate takes the places of a GRU's reset and update gates."""
    candidate = seqmem.gate(cell, "candidate")
    ys = []
    for x in xs:
        f = sigmoid(pre_activation(cell, "forget", x, h))
        n = np.tanh(candidate.W @ x + candidate.b + f * (candidate.U @ h + cell.c))
        h = (1 - f) * n + f * h
        ys.append(h)
    return h, ys


def echo_state(cell, h, xs):
    """Jaeger 2001 with leaky units, unit by unit."""
    ys = []
    for x in xs:
        sums = [cell.U[n] @ h + cell.W[n] @ x + cell.b[n] for n in range(len(h))]
        h = h - cell.leak * h + cell.leak * np.tanh(sums)
        ys.append(h)
    return h, ys


def slstm(cell, state, xs):
    """Beck et al. 2024, equations 8 to 14, without a stabiliser."""
    h, c, n, m = state
    c, n, ys = np.exp(m) * c, np.exp(m) * n, []

    def mix(name, x, h):
        gate = seqmem.gate(cell, name)
        recurrent = [U @ head for U, head in zip(gate.U, np.split(h, len(gate.U)), strict=True)]
        return gate.W @ x + np.concatenate(recurrent) + gate.b

    for x in xs:
        log_i, f = mix("input", x, h), sigmoid(mix("forget", x, h))
        z, o = np.tanh(mix("cell", x, h)), sigmoid(mix("output", x, h))
        c, n = f * c + np.exp(log_i) * z, f * n + np.exp(log_i)
        h, m = o * c / n, np.maximum(np.log(f) + m, log_i)
        ys.append(h)
    return (h, c / np.exp(m), n / np.exp(m), m), ys


def nonlinear_rtu(cell, h, xs):
    """Elelimy et al. 2024, nonlinear: a complex number of each unit is multiplied by λ."""
    eigenvalues = np.exp(-np.exp(cell.nu) + 1j * np.exp(cell.theta))
    gain, ys = np.sqrt(1 - np.abs(eigenvalues) ** 2), []
    for x in xs:
        z = eigenvalues * (h[0] + 1j * h[1]) + gain * (cell.W[0] @ x + 1j * (cell.W[1] @ x))
        h = np.stack([np.maximum(z.real, 0), np.maximum(z.imag, 0)])
        ys.append(h.flatten())
    return h, ys


def para_gru(cell, h, xs):
    """The comment at the head of the authors' program for ParaGRU, with whole matrices A."""
    A, ys = [np.diag(u) for u in cell.u], []
    for x in xs:
        z = sigmoid(A[0] @ h + cell.W[0] @ x + cell.b[0])
        r = sigmoid(A[1] @ h + cell.W[1] @ x + cell.b[1])
        new = np.tanh(A[2] @ (h * r) + cell.W[2] @ x + cell.b[2])
        h = (1 - z) * h + z * new
        ys.append(h)
    return h, ys


def para_lstm(cell, state, xs):
    """The comment at the head of the authors' program for ParaLSTM, with whole matrices A and C."""
    (h, c), ys = state, []
    A, (C_f, C_o) = [np.diag(u) for u in cell.u], [np.diag(p) for p in cell.p]
    for x in xs:
        f = sigmoid(A[0] @ h + cell.W[0] @ x + C_f @ c + cell.b[0])
        new = np.tanh(A[1] @ h + cell.W[1] @ x + cell.b[1])
        c = f * c + (1 - f) * new
        o = sigmoid(A[2] @ h + cell.W[2] @ x + C_o @ c + cell.b[2])
        h = o * np.tanh(c)
        ys.append(h)
    return (h, c), ys


PAPERS = {
    seqmem.RNN: (elman, {"output_size": 2}),
    seqmem.IndRNN: (independent, {}),
    seqmem.NonlinearRTU: (nonlinear_rtu, {}),
    seqmem.ParaGRU: (para_gru, {}),
    seqmem.ParaLSTM: (para_lstm, {}),
    seqmem.LSTM: (lstm, {}),
    seqmem.PeepholeLSTM: (peephole_lstm, {}),
    seqmem.ProjectedLSTM: (projected_lstm, {"output_size": 2}),
    seqmem.GRU: (gru, {}),
    seqmem.ResetBeforeGRU: (reset_before_gru, {}),
    seqmem.MGU: (mgu, {}),
    seqmem.ResetAfterMGU: (reset_after_mgu, {}),
    seqmem.EchoState: (echo_state, {"leak": 0.3}),
    seqmem.SLSTM: (slstm, {"hidden_size": 6, "num_heads": 3}),
}
