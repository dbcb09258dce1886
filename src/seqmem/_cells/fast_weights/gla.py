import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..initialisers import lecun_normal
from .family import AbstractFastWeightCell
from .heads import check_heads, empty_memory, per_head
from .write import Write

TEMPERATURE = 16  # of the forget gate, so that it begins near 1


class GLA(AbstractFastWeightCell):
    """Gated linear attention: every key channel fades at a rate that the input sets.

        q_t = W_q x_t,  k_t = W_k x_t,  v_t = W_v x_t                  of each head
        α_t = σ(W_α V_α x_t + b)^(1/16)                                [key channels]
        S_t = S_{t−1} diag(α_t) + v_t k_tᵀ,    y_t = S_t q_t

    Shapes: x (input,), q, k and α (heads, key_size/heads), S (heads, size/heads, key_size/heads), y
    (size,). Cost per step: O(input · (size + key_size)) and O(size · key_size / heads), of which
    the latter is done in blocks.
    Source: Yang et al. 2023, arXiv:2312.06635, equation 3 and section 4.4. Differs: the output
    gate, norm and projection of that section stand in the block, `seqmem.blocks.gla_block`.

    Args:
        input_size: entries of one input, > 0.
        size: entries of the output, shared evenly by the heads.
        heads: > 0.
        key_size: entries of all heads' keys; None is half the size, as in the paper.
        rank: of the matrix that makes α, > 0.
        key: for the initial parameters.

    Raises:
        ValueError: where the heads do not divide a size.
    """

    W_q: Float[Array, "keys input"]
    W_k: Float[Array, "keys input"]
    W_v: Float[Array, "size input"]
    V_a: Float[Array, "rank input"]
    W_a: Float[Array, "keys rank"]
    b: Float[Array, " keys"]
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    heads: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        size: int,
        heads: int,
        *,
        key_size: int | None = None,
        rank: int = 16,
        key: PRNGKeyArray,
    ):
        key_size = size // 2 if key_size is None else key_size
        check_heads("GLA", size, heads)
        check_heads("GLA", key_size, heads)
        keys = jax.random.split(key, 5)
        self.W_q = lecun_normal(keys[0], (key_size, input_size))
        self.W_k = lecun_normal(keys[1], (key_size, input_size))
        self.W_v = lecun_normal(keys[2], (size, input_size))
        self.V_a = lecun_normal(keys[3], (rank, input_size))
        self.W_a = lecun_normal(keys[4], (key_size, rank))
        self.b = jnp.zeros(key_size)
        self.input_shape = (input_size,)
        self.heads = heads

    def init_state(self):
        sizes = self.W_v.shape[0] // self.heads, self.W_k.shape[0] // self.heads
        return empty_memory(self.heads, *sizes, self.W_v)

    def project(self, x):
        gate = x @ self.V_a.mT @ self.W_a.mT + self.b
        log_decay = log_sigmoid(gate) / TEMPERATURE
        drive = x @ self.W_q.mT, x @ self.W_k.mT, x @ self.W_v.mT, log_decay
        return Write(*(per_head(leaf, self.heads) for leaf in drive)), None

    def output(self, reading, extra):
        return reading.ravel()
