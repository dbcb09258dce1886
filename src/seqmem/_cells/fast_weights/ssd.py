import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import softplus
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..initialisers import lecun_normal, log_of_uniform, softplus_bias
from .family import AbstractFastWeightCell
from .heads import check_heads
from .write import Memory, Write


class SSD(AbstractFastWeightCell):
    """State space duality: a selective state space whose channels fade together within a head.

        Δ_t = softplus(W_Δ x_t + b)                                    of each head
        B_t = W_B x_t,  C_t = W_C x_t                                  of each group of heads
        S_t = exp(−exp(A_log) Δ_t) S_{t−1} + Δ_t v_t B_tᵀ,    v_t = W_v x_t
        y_t = S_t C_t + D v_t

    Shapes: x (input,), v (size,), B and C (groups, state), S (groups, heads/groups, size/heads,
    state), y (size,). Cost per step: O(input · (size + groups · state)) and O(size · state), of
    which the latter is done in blocks.
    Source: Dao & Gu 2024, arXiv:2405.21060, sections 2 and 7: the core of Mamba-2, between its
    convolution and its gate; the whole is `seqmem.blocks.mamba2_block`. As in their code,
    state-spaces/mamba, what enters is discretised by Euler's rule, and at the start softplus(b) is
    log-uniform on [0.001, 0.1], exp(A_log) uniform on [1, 16], and D 1.

    Args:
        input_size: entries of one input, > 0.
        size: entries of the output, shared evenly by the heads.
        heads: > 0.
        state_size: entries of B and C, > 0.
        groups: of heads that share B and C, > 0.
        key: for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the size, or the groups the heads.
    """

    W_v: Float[Array, "size input"]
    W_B: Float[Array, "groups_state input"]
    W_C: Float[Array, "groups_state input"]
    W_delta: Float[Array, "heads input"]
    b: Float[Array, " heads"]
    A_log: Float[Array, " heads"]
    D: Float[Array, " heads"]
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    groups: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        size: int,
        heads: int,
        state_size: int,
        *,
        groups: int = 1,
        key: PRNGKeyArray,
    ):
        check_heads("SSD", size, heads)
        check_heads("SSD's groups", heads, groups)
        keys = jax.random.split(key, 5)
        self.W_v = lecun_normal(keys[0], (size, input_size))
        self.W_B, self.W_C = lecun_normal(keys[1], (2, groups * state_size, input_size))
        self.W_delta = lecun_normal(keys[2], (heads, input_size))
        self.b = softplus_bias(keys[3], heads, 1e-3, 1e-1)
        self.A_log = log_of_uniform(keys[4], heads, 1.0, 16.0)
        self.D = jnp.ones(heads)
        self.input_shape = (input_size,)
        self.groups = groups

    def init_state(self):
        heads = len(self.b)
        shape = self.W_v.shape[0] // heads, self.W_B.shape[0] // self.groups
        return Memory(jnp.zeros((self.groups, heads // self.groups, *shape), state_dtype(self.W_v)))

    def project(self, x):
        delta = softplus(x @ self.W_delta.mT + self.b)
        return ssd(
            delta.reshape(self.groups, -1),
            -jnp.exp(self.A_log).reshape(self.groups, -1),
            (x @ self.W_v.mT).reshape(self.groups, len(self.b) // self.groups, -1),
            (x @ self.W_B.mT).reshape(self.groups, -1),
            (x @ self.W_C.mT).reshape(self.groups, -1),
        )

    def output(self, reading, extra):
        return (reading + self.D.reshape(self.groups, -1, 1) * extra).ravel()


def ssd(
    delta: Float[Array, "groups heads"],
    A: Float[Array, "groups heads"],
    v: Float[Array, "groups heads size"],
    B: Float[Array, "groups state"],
    C: Float[Array, "groups state"],
) -> tuple[Write, Array]:
    """S_t = exp(Δ_t A) S_{t−1} + Δ_t v_t B_tᵀ, read by C_t; B and C shared by the heads of a
    group.
    """
    step = delta[..., None]
    write = Write(C[:, None], B[:, None], step * v, step * A[..., None])
    return write, v
