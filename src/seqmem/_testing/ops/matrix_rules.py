"""The rules whose state is one matrix per head, with their gradients."""

import numpy as np

from .recurrence import Steps
from .rule import Arrays, MatrixRule, gentle_decay, unit


class AdditiveRule(MatrixRule):
    """S_t = S_{t−1} diag(exp(g_t)) + v_t k_tᵀ: GLA, and with one g per head simple GLA and the core
    of Mamba-2.
    """

    def draw_gates(self, rng, arrays):
        return {"g": gentle_decay(rng, arrays["g"])}

    def steps(self, arrays):
        return Steps(arrays["q"], arrays["k"], arrays["v"], arrays["g"])

    def pull(self, arrays, d):
        return {"k": d.key, "v": d.value, "g": d.log_decay}


class Retention(MatrixRule):
    """S_t = γ S_{t−1} + v_t k_tᵀ with γ_h = 1 − 2^(−5−h) for head h."""

    def draw_gates(self, rng, arrays):
        return {}

    def steps(self, arrays):
        heads = arrays["q"].shape[2]
        gamma = 1 - 2.0 ** (-5 - np.arange(heads))
        log_decay = np.broadcast_to(np.log(gamma)[:, None], (*arrays["q"].shape[:3], 1))
        return Steps(arrays["q"], arrays["k"], arrays["v"], log_decay)

    def pull(self, arrays, d):
        return {"k": d.key, "v": d.value}


class DeltaRule(MatrixRule):
    """S_t = D_t − (D_t (β_t k_t)) k_tᵀ + β_t v_t k_tᵀ with D_t = S_{t−1} diag(exp(g_t)): the delta
    rule, the gated one, and KDA, which differ in g alone.
    """

    def draw_gates(self, rng, arrays):
        drawn = {"beta": rng.uniform(0.1, 1, arrays["beta"].shape)}
        if "g" in self.gates:
            drawn["g"] = gentle_decay(rng, arrays["g"])
        return drawn

    def steps(self, arrays):
        q, k, v, beta = (arrays[name] for name in ("q", "k", "v", "beta"))
        log_decay = arrays.get("g", np.zeros_like(beta))
        return Steps(q, k, beta * v, log_decay, removal=beta * k, erased=k)

    def pull(self, arrays, d):
        k, v, beta = (arrays[name] for name in ("k", "v", "beta"))
        gradients = {"k": d.key + beta * d.removal + d.erased, "v": beta * d.value}
        d_beta = (k * d.removal).sum(-1) + (v * d.value).sum(-1)
        gradients["beta"] = d_beta[..., None]
        return gradients | ({"g": d.log_decay} if "g" in self.gates else {})


class GatedDeltaRule2(MatrixRule):
    """The same with an erase gate b per key channel and a write gate w per value channel:
    S_t = D_t − (D_t (b_t ∘ k_t)) k_tᵀ + (w_t ∘ v_t) k_tᵀ.
    """

    def draw_gates(self, rng, arrays):
        gates = {name: rng.uniform(0.1, 1, arrays[name].shape) for name in ("b", "w")}
        return gates | {"g": gentle_decay(rng, arrays["g"])}

    def steps(self, arrays):
        q, k, v, g, b, w = (arrays[name] for name in ("q", "k", "v", "g", "b", "w"))
        return Steps(q, k, w * v, g, removal=b * k, erased=k)

    def pull(self, arrays, d):
        k, v, b, w = (arrays[name] for name in ("k", "v", "b", "w"))
        d_k = d.key + b * d.removal + d.erased
        return {
            "k": d_k,
            "v": w * d.value,
            "g": d.log_decay,
            "b": k * d.removal,
            "w": v * d.value,
        }


class RWKV7(MatrixRule):
    """S_t = S_{t−1} (diag(exp(w_t)) + a_t b_tᵀ) + v_t k_tᵀ, whose w is at least −e^(−1/2)."""

    def draw_gates(self, rng, arrays):
        kappa = unit(arrays["a"])
        b = kappa * rng.uniform(0, 1, kappa.shape)
        return {"w": -np.exp(-0.5) * rng.uniform(0, 1, arrays["w"].shape), "a": -kappa, "b": b}

    def steps(self, arrays):
        q, k, v, w, a, b = (arrays[name] for name in ("q", "k", "v", "w", "a", "b"))
        return Steps(q, k, v, w, removal=a, erased=-b, reads_before_decay=True)

    def pull(self, arrays: Arrays, d: Steps) -> Arrays:
        assert d.removal is not None
        assert d.erased is not None
        return {"k": d.key, "v": d.value, "w": d.log_decay, "a": d.removal, "b": -d.erased}
