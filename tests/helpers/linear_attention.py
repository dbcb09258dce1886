"""A stand-in for `jla.ops` of jax-linear-attention: its conventions, as a loop over time.

    S ← exp(g_t) S, 0 first where the segment changes;  S ← S + β_t k_t (v_t − k_tᵀ S)ᵀ
    o_t = scale · q_tᵀ S,    S [key, value]

Without β, what is written is k_t v_tᵀ; with b and w, k_t (w_t ∘ v_t − (b_t ∘ k_t)ᵀ S)ᵀ.
Arrays are [batch, time, heads, channel].
"""

import jax
import jax.numpy as jnp

GATES = {
    "simple_gla": {"g": 3},
    "gla": {"g": 4},
    "deltanet": {"beta": 3},
    "gated_deltanet": {"g": 3, "beta": 3},
    "kda": {"g": 4, "beta": 3},
    "gdn2": {"g": 4, "b": 4, "w": 4},
}


def linear_attention(
    kind,
    q,
    k,
    v,
    *,
    impl,
    scale,
    initial_state,
    output_final_state,
    segment_ids=None,
    **gates,
):
    assert impl == "mosaic_gpu"
    assert output_final_state
    assert {name: gate.ndim for name, gate in gates.items()} == GATES[kind]
    batch, time, heads, keys = q.shape
    assert k.shape == q.shape
    assert v.shape[:3] == q.shape[:3]
    assert initial_state.shape == (batch, heads, keys, v.shape[-1])
    restarts = jnp.zeros((batch, time), bool)
    if segment_ids is not None:
        restarts = restarts.at[:, 1:].set(segment_ids[:, 1:] != segment_ids[:, :-1])

    def step(S, token):
        q, k, v, restart, gates = token
        S = jnp.where(restart[:, None, None, None], 0, S)
        if "g" in gates:
            g = gates["g"]
            S = S * jnp.exp(g if g.ndim == 3 else g[..., None])[..., None]
        if "beta" in gates:
            v = gates["beta"][..., None] * (v - jnp.einsum("bhk,bhkv->bhv", k, S))
        if "b" in gates:
            v = gates["w"] * v - jnp.einsum("bhk,bhkv->bhv", gates["b"] * k, S)
        S = S + k[..., None] * v[..., None, :]
        return S, scale * jnp.einsum("bhk,bhkv->bhv", q, S)

    steps = jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), (q, k, v, restarts, gates))
    state, readings = jax.lax.scan(step, initial_state, steps)
    return readings.swapaxes(0, 1), state
