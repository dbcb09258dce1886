import equinox as eqx
import jax
from jax.nn import sigmoid, silu
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.errors import bad_input
from ..initialisers import lecun_normal
from .delta_rule import check_beta_max
from .family import AbstractFastWeightCell
from .heads import check_heads, empty_memory, per_head, unit
from .write import Write


class DeltaProduct(AbstractFastWeightCell):
    """Several delta rules per step, one after the other: its transition is a product of
    reflections, and so any rotation of few dimensions.

        q_t = unit(SiLU(W_q x_t))                                                       of each head
        k_tj = unit(SiLU(W_k,j x_t)),  v_tj = SiLU(W_v,j x_t),  β_tj = beta_max · σ(W_β,j x_t)
        S_tj = S_{t,j−1} (I − β_tj k_tj k_tjᵀ) + β_tj v_tj k_tjᵀ,    j = 1, ..., writes
        S_t0 = S_{t−1},    S_t = S_{t,writes},    y_t = S_t q_t

    Shapes: x (input,), S (heads, size/heads, size/heads), y (size,). Cost per step: O(input · size
    · writes) and O(size² / heads · writes), of which the latter is done in blocks.
    Source: Siems et al. 2025, arXiv:2502.10297, without the forget gate of its gated form. Differs:
    short convolutions before SiLU, and the norm behind, stand in a block around the cell.

    Args:
        input_size: entries of one input, > 0.
        size: entries of the output, shared evenly by the heads.
        heads: > 0.
        writes: per step, > 0.
        beta_max: the largest β, in (0, 2].
        key: for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the size, or writes or beta_max are out of range.
    """

    W_q: Float[Array, "size input"]
    W_k: Float[Array, "writes size input"]
    W_v: Float[Array, "writes size input"]
    W_beta: Float[Array, "writes heads input"]
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    heads: int = eqx.field(static=True)
    beta_max: float = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        size: int,
        heads: int,
        *,
        writes: int = 2,
        beta_max: float = 2.0,
        key: PRNGKeyArray,
    ):
        check_heads("DeltaProduct", size, heads)
        check_beta_max("DeltaProduct", beta_max)
        if writes < 1:
            raise bad_input(
                f"DeltaProduct(writes={writes}).",
                "at least one write per step.",
                "leave it out for 2.",
            )
        keys = jax.random.split(key, 3)
        self.W_q = lecun_normal(keys[0], (size, input_size))
        self.W_k, self.W_v = lecun_normal(keys[1], (2, writes, size, input_size))
        self.W_beta = lecun_normal(keys[2], (writes, heads, input_size))
        self.input_shape = (input_size,)
        self.heads = heads
        self.beta_max = beta_max

    def init_state(self):
        size = self.W_q.shape[0] // self.heads
        return empty_memory(self.heads, size, size, self.W_q)

    def project(self, x):
        q = unit(per_head(silu(x @ self.W_q.mT), self.heads))

        def writes(drive: Array) -> Array:  # [write, width] to [head, write, width / heads]
            return jax.vmap(lambda one: per_head(one, self.heads), out_axes=1)(drive)

        k, v = unit(writes(silu(x @ self.W_k.mT))), writes(silu(x @ self.W_v.mT))
        beta = writes(self.beta_max * sigmoid(x @ self.W_beta.mT))
        return Write(q, k, beta * v, remove=beta * k), None

    def output(self, reading, extra):
        return reading.ravel()
