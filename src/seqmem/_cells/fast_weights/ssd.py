import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import softplus
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_divisor, check_heads, check_sizes
from ..initialisers import lecun_normal, log_of_uniform, softplus_bias
from .family import AbstractFastWeightCell
from .write import Memory, Write


class SSD(AbstractFastWeightCell):
    """State space duality: a selective state space model with one decay for all channels of a head.

        Δ_t = softplus(W_Δ x_t + b)                                    of each head
        B_t = W_B x_t,  C_t = W_C x_t                                  of each group of heads
        S_t = exp(−exp(A_log) Δ_t) S_{t−1} + Δ_t v_t B_tᵀ,    v_t = W_v x_t
        y_t = S_t C_t + D v_t

    B and C are the keys and queries of the other fast-weight cells; their size is what state space
    models call the state size.

    Shapes: x (input,), B and C (groups, key), v (heads, value), S (groups, heads/groups, value,
    key), y (hidden,) with hidden = heads · value. Cost per step: O(input · (hidden + groups · key))
    for the projections, none of it sequential, and O(hidden · key) for the memory, sequential from
    chunk to chunk only.
    Source: Dao & Gu 2024, arXiv:2405.21060, sections 2 and 7: the core of Mamba-2, between its
    convolution and its gate; the whole is `seqmem.blocks.mamba2_block`. As in their code,
    state-spaces/mamba, the input is discretised by Euler's rule, and at the start softplus(b) is
    log-uniform on [0.001, 0.1], exp(A_log) uniform on [1, 16], and D 1. Differs: none.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of one output, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        key_size: features of B and C of one group, > 0; None: as of the value of one head, as in
            section 6 of the paper.
        num_groups: number of groups of heads that share B and C, a divisor of `num_heads`.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, the groups do not divide the
            heads, or a size is below 1.
    """

    W_v: Float[Array, "hidden input"]
    W_B: Float[Array, "groups_key input"]
    W_C: Float[Array, "groups_key input"]
    W_delta: Float[Array, "heads input"]
    b: Float[Array, " heads"]
    A_log: Float[Array, " heads"]
    D: Float[Array, " heads"]
    num_groups: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int,
        key_size: int | None = None,
        num_groups: int = 1,
        key: PRNGKeyArray,
    ):
        check_heads("SSD", hidden_size, num_heads)
        check_divisor("SSD", "num_groups", num_groups, "num_heads", num_heads)
        key_size = hidden_size // num_heads if key_size is None else key_size
        check_sizes("SSD", input_size=input_size, key_size=key_size)
        keys = jax.random.split(key, 5)
        self.W_v = lecun_normal(keys[0], (hidden_size, input_size))
        self.W_B, self.W_C = lecun_normal(keys[1], (2, num_groups * key_size, input_size))
        self.W_delta = lecun_normal(keys[2], (num_heads, input_size))
        self.b = softplus_bias(keys[3], num_heads, 1e-3, 1e-1)
        self.A_log = log_of_uniform(keys[4], num_heads, 1.0, 16.0)
        self.D = jnp.ones(num_heads)
        self.num_groups = num_groups

    @property
    def input_shape(self):
        return self.W_v.shape[-1:]

    def init_state(self):
        groups, num_heads = self.num_groups, len(self.b)
        sizes = len(self.W_v) // num_heads, len(self.W_B) // groups
        return Memory(jnp.zeros((groups, num_heads // groups, *sizes), state_dtype(self.W_v)))

    def project(self, x):
        groups = self.num_groups
        delta = softplus(x @ self.W_delta.mT + self.b)
        return ssd(
            delta.reshape(groups, -1),
            -jnp.exp(self.A_log).reshape(groups, -1),
            (x @ self.W_v.mT).reshape(groups, len(self.b) // groups, -1),
            (x @ self.W_B.mT).reshape(groups, -1),
            (x @ self.W_C.mT).reshape(groups, -1),
        )

    def output(self, reading, extra):
        return (reading + self.D.reshape(self.num_groups, -1, 1) * extra).ravel()


def ssd(
    delta: Float[Array, "groups heads"],
    A: Float[Array, "groups heads"],
    v: Float[Array, "groups heads value"],
    B: Float[Array, "groups key"],
    C: Float[Array, "groups key"],
) -> tuple[Write, Array]:
    """S_t = exp(Δ_t A) S_{t−1} + Δ_t v_t B_tᵀ, read with C_t, where a group shares B and C."""
    step = delta[..., None]
    write = Write(C[:, None], B[:, None], step * v, step * A[..., None])
    return write, v
