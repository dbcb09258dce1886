import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..initialisers import lecun_normal
from .family import AbstractFastWeightCell
from .heads import check_heads, empty_memory, per_head, unit
from .write import Write


class RWKV7(AbstractFastWeightCell):
    """The generalised delta rule: what is removed, where, and what is written have each a key of
    its own, and every channel fades by itself.

        r_t, k_t, v_t = W_r x_t, W_k x_t, W_v x_t                                       of each head
        ln w_t = −e^(−1/2) σ(w_0 + W_w tanh(V_w x_t)),    a_t = σ(a_0 + W_a V_a x_t)
        κ_t = unit(ξ ∘ k_t),    k̃_t = k_t ∘ (1 + (a_t − 1) ∘ α)
        S_t = S_{t−1} (diag(w_t) − κ_t (a_t ∘ κ_t)ᵀ) + v_t k̃_tᵀ
        y_t = S_t r_t + (r_t · (ρ ∘ k̃_t)) v_t

    Shapes: x (input,), all vectors (heads, size/heads), S (heads, size/heads, size/heads), y
    (size,). Cost per step: O(input · size) and O(size² / heads), of which the latter is done in
    blocks.
    Source: Peng et al. 2025, arXiv:2503.14456, equations 4 to 20. Differs: the reading S_t r_t is
    not normalised before the bonus is added, as it is in equation 21; the mixing with the token
    before, the mixing of values with those of the first layer and the gate stand in the blocks,
    `seqmem.blocks.rwkv7_block` and `rwkv7_upper_block`. At the start w_0 goes from −6 to 1 over the
    channels and a_0, ξ, α and ρ are 0, 0.85, 1 and 0; in the authors' code, RWKV-LM, w_0, a_0
    and ξ also vary within a head, and V_w and V_a are 0.

    Args:
        input_size: entries of one input, > 0.
        size: entries of the output, shared evenly by the heads.
        heads: > 0.
        rank: of the matrices that make w and a, > 0.
        key: for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the size.
    """

    W_r: Float[Array, "size input"]
    W_k: Float[Array, "size input"]
    W_v: Float[Array, "size input"]
    w_0: Float[Array, " size"]
    V_w: Float[Array, "rank input"]
    W_w: Float[Array, "size rank"]
    a_0: Float[Array, " size"]
    V_a: Float[Array, "rank input"]
    W_a: Float[Array, "size rank"]
    xi: Float[Array, " size"]
    alpha: Float[Array, " size"]
    rho: Float[Array, " size"]
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    heads: int = eqx.field(static=True)

    def __init__(
        self, input_size: int, size: int, heads: int, *, rank: int = 16, key: PRNGKeyArray
    ):
        check_heads("RWKV7", size, heads)
        wide, narrow, up = jax.random.split(key, 3)
        self.W_r, self.W_k, self.W_v = lecun_normal(wide, (3, size, input_size))
        self.V_w, self.V_a = lecun_normal(narrow, (2, rank, input_size))
        self.W_w, self.W_a = 0.1 * lecun_normal(up, (2, size, rank))
        self.w_0 = jnp.linspace(-6.0, 1.0, size)
        self.a_0 = jnp.zeros(size)
        self.xi = jnp.full(size, 0.85)
        self.alpha = jnp.ones(size)
        self.rho = jnp.zeros(size)
        self.input_shape = (input_size,)
        self.heads = heads

    def init_state(self):
        size = self.W_v.shape[0] // self.heads
        return empty_memory(self.heads, size, size, self.W_v)

    def project(self, x):
        r, k, v = (x @ W.mT for W in (self.W_r, self.W_k, self.W_v))
        w = self.w_0 + jnp.tanh(x @ self.V_w.mT) @ self.W_w.mT
        a = self.a_0 + x @ self.V_a.mT @ self.W_a.mT
        drive = r, k, v, w, a, self.xi, self.alpha, self.rho
        return rwkv7(*(per_head(leaf, self.heads) for leaf in drive))

    def output(self, reading, extra):
        return (reading + extra).ravel()


def rwkv7(
    r: Float[Array, "heads key"],
    k: Float[Array, "heads key"],
    v: Float[Array, "heads value"],
    w: Float[Array, "heads key"],
    a: Float[Array, "heads key"],
    xi: Float[Array, "heads key"],
    alpha: Float[Array, "heads key"],
    rho: Float[Array, "heads key"],
) -> tuple[Write, Float[Array, "heads value"]]:
    """What a step writes, with w and a before their σ, and the bonus (r_t · (ρ ∘ k̃_t)) v_t."""
    log_w, a = -math.exp(-0.5) * sigmoid(w), sigmoid(a)
    kappa, written = unit(xi * k), k * (1 + (a - 1) * alpha)
    bonus = (r * rho * written).sum(-1, keepdims=True) * v
    return Write(r, written, v, log_w, remove=kappa, erase=a * kappa), bonus
