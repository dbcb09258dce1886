"""The rule of the mLSTM: exponential gates, a normaliser, and a state held divided by exp(m)."""

import numpy as np

from .recurrence import Marks, Steps, pull_back, run_loop
from .rule import Evaluation, Rule


class MLSTM(Rule):
    """C_t = σ(f_t) C_{t−1} + exp(i_t) v_t k_tᵀ,    n_t = σ(f_t) n_{t−1} + exp(i_t) k_t
    o_t = C_t q_t / max(|n_tᵀ q_t|, 1)

    The state is (C, n, m), of which C exp(m) and n exp(m) count: which m a kernel takes is its own
    affair. Nothing above depends on m, so the gradient is that for a constant m.
    """

    state_axes = ("BHKV", "BHK", "BH")
    slow_decay = 7.0  # before the sigmoid
    scales_state = True

    def draw_gates(self, rng, arrays):
        return {"i": 2 * arrays["i"], "f": 2 + arrays["f"]}

    @property
    def unscaled_axes(self):
        return self.state_axes[:2]

    def unscaled(self, state):
        C, n, m = state
        return C * np.exp(m)[..., None, None], n * np.exp(m)[..., None]

    def kernel_cotangents(self, cotangents, state):
        d_C, d_n = cotangents
        unscaled = self.unscaled(state)
        d_m = (d_C * unscaled[0]).sum((-2, -1)) + (d_n * unscaled[1]).sum(-1)
        m = state[2]
        return d_C * np.exp(m)[..., None, None], d_n * np.exp(m)[..., None], d_m

    def unscaled_cotangents(self, cotangents, state):
        (d_C, d_n), m = cotangents, state[2]
        return d_C * np.exp(-m)[..., None, None], d_n * np.exp(-m)[..., None]

    def evaluate(self, arrays, state, marks, scale, cotangents):
        q, k, v, i, f = (arrays[name] for name in ("q", "k", "v", "i", "f"))
        _, batch, heads, size = k.shape
        if state is None:
            first, m = np.zeros((batch, heads, v.shape[-1] + 1, size)), np.zeros((batch, heads))
        else:
            C, n, m = state
            first = np.concatenate([C.swapaxes(-1, -2), n[..., None, :]], -2)
        log_f = -np.logaddexp(0, -f)
        before, after = running_maximum(log_f, i, m, marks)
        gain = np.exp(i - after)[..., None]
        value = gain * np.concatenate([v, np.ones_like(v[..., :1])], -1)
        steps = Steps(scale * q, k, value, (log_f + before - after)[..., None])
        trace = run_loop(steps, first, marks)
        numerator, n_q = trace.outputs[..., :-1], trace.outputs[..., -1:]
        floor = np.exp(-after)[..., None]
        divisor = np.maximum(np.abs(n_q), floor)

        d_outputs, (d_C, d_n) = cotangents
        d_divisor = -(d_outputs * numerator).sum(-1, keepdims=True) / divisor**2
        d_n_q = np.where(np.abs(n_q) > floor, d_divisor * np.sign(n_q), 0)
        d_read = np.concatenate([d_outputs / divisor, d_n_q], -1)
        d_last = np.concatenate([d_C.swapaxes(-1, -2), d_n[..., None, :]], -2)
        unscale = np.exp(after[-1])[..., None]
        d, d_first = pull_back(steps, trace, marks, d_read, d_last * unscale[..., None])
        gradients = {
            "q": scale * d.query,
            "k": d.key,
            "v": gain * d.value[..., :-1],
            "i": (value * d.value).sum(-1),
            "f": d.log_decay[..., 0] * np.exp(-np.logaddexp(0, f)),
        }
        if state is not None:
            gradients["initial_state"] = d_first[..., :-1, :].swapaxes(-1, -2), d_first[..., -1, :]
        last = trace.state[..., :-1, :].swapaxes(-1, -2) * unscale[..., None]
        return Evaluation(numerator / divisor, (last, trace.state[..., -1, :] * unscale), gradients)


def running_maximum(
    log_f: np.ndarray, i: np.ndarray, m: np.ndarray, marks: Marks
) -> tuple[np.ndarray, np.ndarray]:
    """m before and after each step: m_t = max(ln f_t + m_{t−1}, i_t)."""
    before, after = [], []
    for t in range(len(i)):
        m = np.where(marks.starts[t][:, None], 0, m)
        before.append(m)
        m = np.where(marks.is_padding[t][:, None], m, np.maximum(log_f[t] + m, i[t]))
        after.append(m)
    return np.stack(before), np.stack(after)
