"""The definition of linear attention with removal: a loop over time in NumPy's float64, with its
gradient by hand.

    D_t = S_{t−1} diag(w_t),    u_t = D_t p_t, or S_{t−1} p_t where a removal reads before the decay
    S_t = D_t − u_t e_tᵀ + v_t k_tᵀ,    o_t = S_t q_t

It shares nothing with seqmem's cells and their methods, which the tests compare with it.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float


class Steps(NamedTuple):
    """What each step does to the matrices. `removal` and `erased` are None where nothing is."""

    query: Float[np.ndarray, "time batch heads key"]  # q
    key: Float[np.ndarray, "time batch heads key"]  # k
    value: Float[np.ndarray, "time batch heads value"]  # v
    log_decay: Float[np.ndarray, "time batch heads key_or_1"]  # ln w
    removal: Float[np.ndarray, "time batch heads key"] | None = None  # p
    erased: Float[np.ndarray, "time batch heads key"] | None = None  # e
    reads_before_decay: bool = False


class Trace(NamedTuple):
    """What the loop leaves for its gradient: the matrices before and after each step."""

    outputs: Float[np.ndarray, "time batch heads value"]
    state: Float[np.ndarray, "batch heads value key"]
    before: Float[np.ndarray, "time batch heads value key"]
    after: Float[np.ndarray, "time batch heads value key"]


class Marks(NamedTuple):
    """Where sequences begin and end, [time, batch]: the matrices are emptied before a step with
    `starts`, and a step with `is_padding` changes nothing and returns 0.
    """

    starts: Bool[np.ndarray, "time batch"]
    is_padding: Bool[np.ndarray, "time batch"]


def _where(mask: np.ndarray, one: np.ndarray, other: np.ndarray | float) -> np.ndarray:
    """A choice per example, for arrays [batch, ...]."""
    return np.where(mask.reshape(mask.shape + (1,) * (one.ndim - 1)), one, other)


def run_loop(steps: Steps, state: np.ndarray, marks: Marks) -> Trace:
    """All outputs and the last matrices, step by step."""
    outputs, before, after = [], [], []
    S = state
    for t in range(len(steps.query)):
        S = _where(marks.starts[t], np.zeros_like(S), S)
        before.append(S)
        D = S * np.exp(steps.log_decay[t])[..., None, :]
        new = D + _outer(steps.value[t], steps.key[t])
        if steps.removal is not None and steps.erased is not None:
            u = _matvec(S if steps.reads_before_decay else D, steps.removal[t])
            new = new - _outer(u, steps.erased[t])
        S = _where(marks.is_padding[t], S, new)
        outputs.append(
            _where(marks.is_padding[t], np.zeros_like(steps.value[t]), _matvec(S, steps.query[t]))
        )
        after.append(S)
    return Trace(np.stack(outputs), S, np.stack(before), np.stack(after))


def pull_back(
    steps: Steps, trace: Trace, marks: Marks, d_outputs: np.ndarray, d_state: np.ndarray
) -> tuple[Steps, np.ndarray]:
    """The gradients of the steps and of the first matrices, by the chain rule from the last step to
    the first.
    """
    gradients: list[dict[str, np.ndarray]] = []
    G = d_state
    for t in reversed(range(len(steps.query))):
        is_padding = marks.is_padding[t]
        d_o = _where(is_padding, np.zeros_like(d_outputs[t]), d_outputs[t])
        G_new = _where(is_padding, np.zeros_like(G), G + _outer(d_o, steps.query[t]))
        S, w = trace.before[t], np.exp(steps.log_decay[t])[..., None, :]
        d_decayed, d_before = G_new, np.zeros_like(G)
        at_t = {
            "query": _matvec(trace.after[t].swapaxes(-1, -2), d_o),
            "key": _matvec(G_new.swapaxes(-1, -2), steps.value[t]),
            "value": _matvec(G_new, steps.key[t]),
        }
        if steps.removal is not None and steps.erased is not None:
            read = S if steps.reads_before_decay else S * w
            d_u = -_matvec(G_new, steps.erased[t])
            at_t["erased"] = -_matvec(G_new.swapaxes(-1, -2), _matvec(read, steps.removal[t]))
            at_t["removal"] = _matvec(read.swapaxes(-1, -2), d_u)
            d_read = _outer(d_u, steps.removal[t])
            if steps.reads_before_decay:
                d_before = d_read
            else:
                d_decayed = d_decayed + d_read
        d_w = (S * d_decayed).sum(-2, keepdims=True) * w
        if steps.log_decay.shape[-1] == 1:
            d_w = d_w.sum(-1, keepdims=True)
        at_t["log_decay"] = d_w[..., 0, :]
        gradients.append(at_t)
        G = _where(is_padding, G, d_decayed * w + d_before)
        G = _where(marks.starts[t], np.zeros_like(G), G)
    stacked: dict[str, Any] = {
        name: np.stack([at_t[name] for at_t in reversed(gradients)]) for name in gradients[0]
    }
    return Steps(**stacked), G


def _outer(values: np.ndarray, keys: np.ndarray) -> np.ndarray:
    return values[..., :, None] * keys[..., None, :]


def _matvec(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    return (matrix @ vector[..., None])[..., 0]
