"""The papers of the cells in continuous time, in NumPy, unit by unit.

A loop below is `paper(cell, state, xs) -> (state, ys)`, on a cell of NumPy arrays; PAPERS names a
cell's loop, and the cell's other arguments.
"""

import numpy as np

import seqmem
from tests.papers.gated import pre_activation, sigmoid


def cfc(cell, h, xs):
    """Hasani et al. 2022, with two layers before the heads, as in ncps."""
    weights = np.concatenate([cell.W, cell.U], 1)
    ys = []
    for x, delta_t in zip(*xs, strict=True):
        a = 1.7159 * np.tanh(0.666 * (weights @ np.concatenate([x, h]) + cell.b))
        a = 1.7159 * np.tanh(0.666 * (cell.V[0] @ a + cell.c[0]))
        one, other, speed, offset = (H @ a + d for H, d in zip(cell.H, cell.d, strict=True))
        share = sigmoid(speed * delta_t + offset)
        h = np.tanh(one) * (1 - share) + share * np.tanh(other)
        ys.append(h)
    return h, ys


def softplus(x):
    return np.log(1 + np.exp(x))


def ltc(cell, v, xs):
    """Hasani et al. 2020: the fused solver as it stands in the paper, with C divided by δ."""
    C, G = softplus(cell.neurons.cm), softplus(cell.neurons.gleak)
    ys = []
    for x, delta_t in zip(*xs, strict=True):
        inputs = cell.input_map.w * x + cell.input_map.b
        delta = delta_t / cell.num_steps
        for _ in range(cell.num_steps):
            new = np.empty_like(v)
            for n in range(len(v)):
                top = C[n] / delta * v[n] + G[n] * cell.neurons.vleak[n]
                bottom = C[n] / delta + G[n]
                for sources, synapses in ((v, cell.synapses), (inputs, cell.sensory)):
                    for j, potential in enumerate(sources):
                        opening = sigmoid(synapses.sigma[j, n] * (potential - synapses.mu[j, n]))
                        S = softplus(synapses.w[j, n]) * opening
                        top, bottom = top + S * synapses.erev[j, n], bottom + S
                new[n] = top / bottom
            v = new
        ys.append(cell.output_map.w * v + cell.output_map.b)
    return v, ys


def gru_d(cell, state, xs):
    """Che et al. 2016, GRU-D: δ by the recurrence of the paper, entry by entry."""
    h, last, elapsed = (np.array(leaf) for leaf in state)
    values, deltas = xs
    ys = []
    for x, is_observed, delta_t in zip(*values, deltas, strict=True):
        delta = elapsed + delta_t
        imputed = np.empty_like(last)
        for d in range(len(x)):
            decay = np.exp(-max(0, cell.input_decay[0, d] * delta[d] + cell.input_decay[1, d]))
            imputed[d] = x[d] if is_observed[d] else decay * last[d] + (1 - decay) * cell.mean[d]
            last[d] = x[d] if is_observed[d] else last[d]
            elapsed[d] = 0 if is_observed[d] else delta[d]
        h = np.exp(-np.maximum(0, cell.D @ delta + cell.e)) * h
        Wx = cell.W @ imputed + cell.V @ is_observed + cell.b
        r, z = sigmoid(Wx[0] + cell.U[0] @ h), sigmoid(Wx[1] + cell.U[1] @ h)
        h = (1 - z) * h + z * np.tanh(Wx[2] + cell.U[2] @ (r * h))
        ys.append(h)
    return (h, last, elapsed), ys


def phased_lstm(cell, state, xs):
    """Neil et al. 2016, section 2, with the time t itself."""
    h, c, phase = state
    tau = np.exp(cell.log_tau)
    start, t, ys = phase * tau, 0.0, []
    for x, delta_t in zip(*xs, strict=True):
        t += delta_t
        phase = np.mod(start + t, tau) / tau
        k = np.empty_like(phase)
        for n, r in enumerate(cell.ratio_on):
            if phase[n] < r / 2:
                k[n] = 2 * phase[n] / r
            elif phase[n] < r:
                k[n] = 2 - 2 * phase[n] / r
            else:
                k[n] = cell.leak * phase[n]
        i, f, g, o = (pre_activation(cell, name, x, h) for name in cell.gates)
        proposed_c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        proposed_h = sigmoid(o) * np.tanh(proposed_c)
        c = k * proposed_c + (1 - k) * c
        h = k * proposed_h + (1 - k) * h
        ys.append(h)
    return (h, c, phase), ys


def ode_lstm(cell, state, xs):
    """Lechner & Hasani 2020: an LSTM, then Runge's and Kutta's rule of order 4."""
    h, c = state

    def slope(h):
        return cell.V[1] @ np.tanh(cell.V[0] @ h + cell.e[0]) + cell.e[1]

    ys = []
    for x, delta_t in zip(*xs, strict=True):
        i, f, g, o = (pre_activation(cell, name, x, h) for name in cell.gates)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        delta = delta_t / cell.num_steps
        for _ in range(cell.num_steps):
            slopes = [slope(h)]
            for part in (0.5, 0.5, 1.0):
                slopes.append(slope(h + part * delta * slopes[-1]))
            h = h + delta * np.average(slopes, axis=0, weights=[1, 2, 2, 1])
        ys.append(h)
    return (h, c), ys


PAPERS = {
    seqmem.CfC: (cfc, {"backbone_size": 11, "num_layers": 2}),
    seqmem.LTC: (ltc, {}),
    seqmem.GRUD: (gru_d, {}),
    seqmem.PhasedLSTM: (phased_lstm, {"period_max": 10.0, "ratio_on": 0.5}),
    seqmem.ODELSTM: (ode_lstm, {}),
}
