import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.validation import check_heads, check_sizes
from ..initialisers import lecun_normal
from .family import AbstractFastWeightCell
from .heads import empty_memory, per_head, unit
from .write import Write


class RWKV7(AbstractFastWeightCell):
    """The generalised delta rule: removing and writing use different keys, and every key channel
    has its own decay.

        r_t, k_t, v_t = W_r x_t, W_k x_t, W_v x_t                                       of each head
        ln w_t = −e^(−1/2) σ(w_0 + W_w tanh(V_w x_t)),    a_t = σ(a_0 + W_a V_a x_t)
        κ_t = unit(ξ ∘ k_t),    k̃_t = k_t ∘ (1 + (a_t − 1) ∘ α)
        S_t = S_{t−1} (diag(w_t) − κ_t (a_t ∘ κ_t)ᵀ) + v_t k̃_tᵀ
        y_t = S_t r_t + (r_t · (ρ ∘ k̃_t)) v_t

    Shapes: x (input,), all vectors (heads, size), S (heads, size, size), y (hidden,) with hidden =
    heads · size. Cost per step: O(input · hidden) for the projections, none of it sequential, and
    O(hidden · size) for the memory, sequential from chunk to chunk only.
    Source: Peng et al. 2025, arXiv:2503.14456, equations 4 to 20. Differs: the reading S_t r_t is
    not normalised before the bonus is added, as it is in equation 21; the token shift, the value
    residual from the first layer and the gate are in `seqmem.blocks.rwkv7_block`. At the start w_0
    goes from −6 to 1 over the channels and a_0, ξ, α and ρ are 0, 0.85, 1 and 0; W_w and W_a are a
    tenth of the usual size; in the authors' code, RWKV-LM, w_0, a_0 and ξ also vary within a head,
    and V_w and V_a are 0.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of one output, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        rank: rank of the matrices W_w V_w and W_a V_a, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, or a size is below 1.
    """

    W_r: Float[Array, "hidden input"]
    W_k: Float[Array, "hidden input"]
    W_v: Float[Array, "hidden input"]
    w_0: Float[Array, " hidden"]
    V_w: Float[Array, "rank input"]
    W_w: Float[Array, "hidden rank"]
    a_0: Float[Array, " hidden"]
    V_a: Float[Array, "rank input"]
    W_a: Float[Array, "hidden rank"]
    xi: Float[Array, " hidden"]
    alpha: Float[Array, " hidden"]
    rho: Float[Array, " hidden"]
    num_heads: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int,
        rank: int = 16,
        key: PRNGKeyArray,
    ):
        check_heads("RWKV7", hidden_size, num_heads)
        check_sizes("RWKV7", input_size=input_size, rank=rank)
        rkv_key, V_key, W_key = jax.random.split(key, 3)
        self.W_r, self.W_k, self.W_v = lecun_normal(rkv_key, (3, hidden_size, input_size))
        self.V_w, self.V_a = lecun_normal(V_key, (2, rank, input_size))
        self.W_w, self.W_a = 0.1 * lecun_normal(W_key, (2, hidden_size, rank))
        self.w_0 = jnp.linspace(-6.0, 1.0, hidden_size)
        self.a_0 = jnp.zeros(hidden_size)
        self.xi = jnp.full(hidden_size, 0.85)
        self.alpha = jnp.ones(hidden_size)
        self.rho = jnp.zeros(hidden_size)
        self.num_heads = num_heads

    @property
    def input_shape(self):
        return self.W_v.shape[-1:]

    def init_state(self):
        size = len(self.W_v) // self.num_heads
        return empty_memory(self.num_heads, size, size, self.W_v)

    def project(self, x):
        r, k, v = (x @ W.mT for W in (self.W_r, self.W_k, self.W_v))
        w = self.w_0 + jnp.tanh(x @ self.V_w.mT) @ self.W_w.mT
        a = self.a_0 + x @ self.V_a.mT @ self.W_a.mT
        drive = r, k, v, w, a, self.xi, self.alpha, self.rho
        return generalised_delta_rule(*(per_head(leaf, self.num_heads) for leaf in drive))

    def output(self, reading, extra):
        return (reading + extra).ravel()


def generalised_delta_rule(
    r: Float[Array, "heads key"],
    k: Float[Array, "heads key"],
    v: Float[Array, "heads value"],
    w: Float[Array, "heads key"],
    a: Float[Array, "heads key"],
    xi: Float[Array, "heads key"],
    alpha: Float[Array, "heads key"],
    rho: Float[Array, "heads key"],
    *,
    eps: float = 1e-6,
) -> tuple[Write, Float[Array, "heads value"]]:
    """The write of one step, given w and a before their σ, and the bonus (r_t · (ρ ∘ k̃_t)) v_t.

    Its ε is that of `unit`.
    """
    log_w, a = -math.exp(-0.5) * sigmoid(w), sigmoid(a)
    kappa, written_key = unit(xi * k, eps), k * (1 + (a - 1) * alpha)
    bonus = (r * rho * written_key).sum(-1, keepdims=True) * v
    return Write(r, written_key, v, log_w, remove=kappa, erase=a * kappa), bonus
