"""The papers of one or two products and a gate, in NumPy, gate by gate."""

import numpy as np

import seqmem
from tests.papers.gated import pre_activation, sigmoid


def janet(cell, h, xs):
    """van der Westhuizen & Lasenby 2018: 1 − σ(s − β) weighs the candidate."""
    ys = []
    for x in xs:
        s = pre_activation(cell, "forget", x, h)
        candidate = np.tanh(pre_activation(cell, "cell", x, h))
        h = sigmoid(s) * h + (1 - sigmoid(s - cell.beta)) * candidate
        ys.append(h)
    return h, ys


def minimal_rnn(cell, h, xs):
    """Chen 2017: z is the embedding of the input."""
    ys = []
    for x in xs:
        z = np.tanh(cell.W @ x + cell.b)
        u = sigmoid(cell.U @ h + cell.V @ z + cell.c)
        h = u * h + (1 - u) * z
        ys.append(h)
    return h, ys


def ran(cell, state, xs):
    """Lee et al. 2017: the content is linear in the input."""
    (h, c), ys = state, []
    for x in xs:
        i = sigmoid(pre_activation(cell, "input", x, h))
        f = sigmoid(pre_activation(cell, "forget", x, h))
        c = i * (cell.W[2] @ x) + f * c
        h = np.tanh(c)
        ys.append(h)
    return (h, c), ys


def update_gate(activation):
    """Collins et al. 2016, and with a rectifier Ravanelli et al. 2018."""

    def paper(cell, h, xs):
        ys = []
        for x in xs:
            z = sigmoid(pre_activation(cell, "update", x, h))
            h = z * h + (1 - z) * activation(pre_activation(cell, "candidate", x, h))
            ys.append(h)
        return h, ys

    return paper


def cfn(cell, h, xs):
    """Laurent & von Brecht 2016."""
    ys = []
    for x in xs:
        theta = sigmoid(pre_activation(cell, "forget", x, h))
        eta = sigmoid(pre_activation(cell, "input", x, h))
        h = theta * np.tanh(h) + eta * np.tanh(cell.W[2] @ x)
        ys.append(h)
    return h, ys


def star(cell, h, xs):
    """Turkoglu et al. 2019: k does for the input what a Kalman gain does."""
    ys = []
    for x in xs:
        k = sigmoid(cell.W[0] @ x + cell.U @ h + cell.b[0])
        z = np.tanh(cell.W[1] @ x + cell.b[1])
        h = np.tanh(h + k * (z - h))
        ys.append(h)
    return h, ys


def bistable(cell, h, xs):
    """Vecoven et al. 2020; BRC is NBRC with diagonal matrices."""
    U_a, U_c = (np.diag(u) for u in cell.u) if isinstance(cell, seqmem.BRC) else cell.U
    ys = []
    for x in xs:
        a = 1 + np.tanh(cell.W[0] @ x + U_a @ h + cell.b[0])
        c = sigmoid(cell.W[1] @ x + U_c @ h + cell.b[1])
        h = c * h + (1 - c) * np.tanh(cell.W[2] @ x + a * h)
        ys.append(h)
    return h, ys


def atr(cell, h, xs):
    """Zhang et al. 2018: i from the sum, f from the difference."""
    ys = []
    for x in xs:
        p, q = cell.W @ x + cell.b, cell.U @ h + cell.c
        i, f = sigmoid(p + q), sigmoid(p - q)
        h = i * p + f * h
        ys.append(h)
    return h, ys


def fast_rnn(cell, h, xs):
    """Kusupati et al. 2018, without a gate."""
    ys = []
    for x in xs:
        candidate = np.tanh(cell.W @ x + cell.U @ h + cell.b)
        h = sigmoid(cell.alpha) * candidate + sigmoid(cell.beta) * h
        ys.append(h)
    return h, ys


def fast_grnn(cell, h, xs):
    """Kusupati et al. 2018, with one."""
    b_z, b_h = cell.b
    ys = []
    for x in xs:
        z = sigmoid(cell.W @ x + cell.U @ h + b_z)
        candidate = np.tanh(cell.W @ x + cell.U @ h + b_h)
        h = (sigmoid(cell.zeta) * (1 - z) + sigmoid(cell.nu)) * candidate + z * h
        ys.append(h)
    return h, ys


def scrn(cell, state, xs):
    """Mikolov et al. 2014: the new context is seen in the same step."""
    (h, s), ys = state, []
    for x in xs:
        s = (1 - cell.alpha) * cell.B @ x + cell.alpha * s
        h = sigmoid(cell.P @ s + cell.A @ x + cell.R @ h)
        ys.append(np.concatenate([h, s]))
    return (h, s), ys


def mut1(cell, h, xs):
    """Jozefowicz et al. 2015, MUT1: z sees the input alone."""
    (W_r, W_z), (U_r, U_h), (b_r, b_h, b_z) = cell.W, cell.U, cell.b
    ys = []
    for x in xs:
        z = sigmoid(W_z @ x + b_z)
        r = sigmoid(W_r @ x + U_r @ h + b_r)
        h = np.tanh(U_h @ (r * h) + np.tanh(x) + b_h) * z + h * (1 - z)
        ys.append(h)
    return h, ys


def mut2(cell, h, xs):
    """Jozefowicz et al. 2015, MUT2: r adds the input as it is."""
    (W_z, W_h), (U_z, U_r, U_h), (b_z, b_r, b_h) = cell.W, cell.U, cell.b
    ys = []
    for x in xs:
        z = sigmoid(W_z @ x + U_z @ h + b_z)
        r = sigmoid(x + U_r @ h + b_r)
        h = np.tanh(U_h @ (r * h) + W_h @ x + b_h) * z + h * (1 - z)
        ys.append(h)
    return h, ys


def mut3(cell, h, xs):
    """Jozefowicz et al. 2015, MUT3: z sees tanh(h)."""
    ys = []
    for x in xs:
        z = sigmoid(pre_activation(cell, "input", x, np.tanh(h)))
        r = sigmoid(pre_activation(cell, "reset", x, h))
        h = np.tanh(pre_activation(cell, "candidate", x, r * h)) * z + h * (1 - z)
        ys.append(h)
    return h, ys


def multiplicative_lstm(cell, state, xs):
    """Krause et al. 2016: an LSTM that sees m in place of h."""
    (h, c), ys = state, []
    for x in xs:
        m = (cell.W[4] @ x) * (cell.R @ h)
        i = sigmoid(pre_activation(cell, "input", x, m))
        f = sigmoid(pre_activation(cell, "forget", x, m))
        o = sigmoid(pre_activation(cell, "output", x, m))
        c = f * c + i * np.tanh(pre_activation(cell, "cell", x, m))
        h = o * np.tanh(c)
        ys.append(h)
    return (h, c), ys


def rhn(cell, s, xs):
    """Zilly et al. 2016: the input enters the first layer alone."""
    ys = []
    for x in xs:
        for layer, ((R_h, R_t), (b_h, b_t)) in enumerate(zip(cell.R, cell.b, strict=True)):
            from_input = cell.W @ x if layer == 0 else np.zeros((2, len(s)))
            h = np.tanh(from_input[0] + R_h @ s + b_h)
            t = sigmoid(from_input[1] + R_t @ s + b_t)
            s = h * t + s * (1 - t)
        ys.append(s)
    return s, ys


def mogrifier_lstm(cell, state, xs):
    """Melis et al. 2019: odd rounds scale x, even ones h."""
    (h, c), ys = state, []
    for x in xs:
        for round_ in range(1, len(cell.Q) + len(cell.R) + 1):
            if round_ % 2:
                x = 2 * sigmoid(cell.Q[round_ // 2] @ h) * x
            else:
                h = 2 * sigmoid(cell.R[round_ // 2 - 1] @ x) * h
        i, f, g, o = (W @ x + U @ h + b for W, U, b in zip(cell.W, cell.U, cell.b, strict=True))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        ys.append(h)
    return (h, c), ys


PAPERS = {
    seqmem.JANET: (janet, {"beta": 0.7}),
    seqmem.MinimalRNN: (minimal_rnn, {}),
    seqmem.RAN: (ran, {}),
    seqmem.UGRNN: (update_gate(np.tanh), {}),
    seqmem.LiGRU: (update_gate(lambda x: np.maximum(x, 0)), {}),
    seqmem.CFN: (cfn, {}),
    seqmem.STAR: (star, {}),
    seqmem.BRC: (bistable, {}),
    seqmem.NBRC: (bistable, {}),
    seqmem.ATR: (atr, {}),
    seqmem.FastRNN: (fast_rnn, {}),
    seqmem.FastGRNN: (fast_grnn, {}),
    seqmem.SCRN: (scrn, {"context_size": 2}),
    seqmem.MUT1: (mut1, {}),
    seqmem.MUT2: (mut2, {}),
    seqmem.MUT3: (mut3, {}),
    seqmem.MultiplicativeLSTM: (multiplicative_lstm, {}),
    seqmem.RHN: (rhn, {"depth": 3}),
    seqmem.MogrifierLSTM: (mogrifier_lstm, {"rounds": 5}),
}
