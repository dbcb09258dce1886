import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_heads, check_sizes
from ..initialisers import lecun_normal
from .family import AbstractFastWeightCell
from .heads import per_head
from .write import Memory, Write


class RWKV6(AbstractFastWeightCell):
    """Linear attention with a decay per key channel that reads its memory before it writes, and
    gives the present value a bonus.

        r_t, k_t, v_t = W_r x_t, W_k x_t, W_v x_t                                       of each head
        ln w_t = −exp(w_0 + W_w tanh(V_w x_t))                         of each key channel
        y_t = (S_{t−1} + v_t (u ∘ k_t)ᵀ) r_t
        S_t = S_{t−1} diag(w_t) + v_t k_tᵀ

    Shapes: x (input,), r, k, w and u (heads, key), v (heads, value), S (heads, value, key), y
    (hidden,) with hidden = heads · value. The last column of the state holds S_{t−1} r_t. Cost per
    step: O(input · (hidden + heads · key)) for the projections, none of it sequential, and
    O(hidden · key) for the memory, sequential from chunk to chunk only.
    Source: Peng et al. 2024 (Finch), arXiv:2404.05892; its equations were not read in the paper but
    in the authors' code, RWKV-LM, RWKV-v5/rwkv_v6_demo.py, and in flash-linear-attention at commit
    bc3b101, ops/rwkv6. Differs: the token shift, the norm, the gate and the output projection are
    in `seqmem.blocks.rwkv6_block`. At the start w_0 goes from −6 to −1 over the channels, u is 0,
    and W_w is a tenth of the usual size; in the authors' code w_0 and u also vary with the layer,
    and V_w is 0.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of one output, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        key_size: features of the key of one head, > 0; None: as of its value.
        rank: rank of the matrix W_w V_w, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, or a size is below 1.
    """

    W_r: Float[Array, "keys input"]
    W_k: Float[Array, "keys input"]
    W_v: Float[Array, "hidden input"]
    w_0: Float[Array, " keys"]
    V_w: Float[Array, "rank input"]
    W_w: Float[Array, "keys rank"]
    u: Float[Array, " keys"]
    num_heads: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int,
        key_size: int | None = None,
        rank: int = 16,
        key: PRNGKeyArray,
    ):
        check_heads("RWKV6", hidden_size, num_heads)
        key_size = hidden_size // num_heads if key_size is None else key_size
        check_sizes("RWKV6", input_size=input_size, key_size=key_size, rank=rank)
        all_keys = num_heads * key_size
        keys = jax.random.split(key, 4)
        self.W_r, self.W_k = lecun_normal(keys[0], (2, all_keys, input_size))
        self.W_v = lecun_normal(keys[1], (hidden_size, input_size))
        self.V_w = lecun_normal(keys[2], (rank, input_size))
        self.W_w = 0.1 * lecun_normal(keys[3], (all_keys, rank))
        self.w_0 = jnp.linspace(-6.0, -1.0, all_keys)
        self.u = jnp.zeros(all_keys)
        self.num_heads = num_heads

    @property
    def input_shape(self):
        return self.W_v.shape[-1:]

    def init_state(self):
        value_size, key_size = (len(W) // self.num_heads for W in (self.W_v, self.W_k))
        shape = self.num_heads, value_size, key_size + 1
        return Memory(jnp.zeros(shape, state_dtype(self.W_v)))

    def project(self, x):
        r, k, v = (x @ W.mT for W in (self.W_r, self.W_k, self.W_v))
        w = self.w_0 + jnp.tanh(x @ self.V_w.mT) @ self.W_w.mT
        leaves = (r, k, v, w, self.u)
        return receptance(*(per_head(leaf, self.num_heads) for leaf in leaves))

    def output(self, reading, extra):
        return (reading + extra).ravel()


def receptance(
    r: Float[Array, "heads key"],
    k: Float[Array, "heads key"],
    v: Float[Array, "heads value"],
    w: Float[Array, "heads key"],
    u: Float[Array, "heads key"],
) -> tuple[Write, Float[Array, "heads value"]]:
    """The write of one step, which reads S_{t−1}, given ln(−ln w_t); and the bonus
    (r_t · (u ∘ k_t)) v_t.
    """
    bonus = (r * u * k).sum(-1, keepdims=True) * v
    log_w = -jnp.exp(jnp.minimum(w, 80))  # w_t is 0 from far below; ∞ would have no derivative
    return Write(r, k, v, log_w, reads_before=jnp.ones((1, 1), v.dtype)), bonus
