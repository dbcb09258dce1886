from typing import ClassVar

import equinox as eqx
import jax
from jax.nn import sigmoid, silu
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.errors import bad_input
from ..._core.validation import check_heads, check_sizes
from ..initialisers import lecun_normal
from .family import AbstractFastWeightCell
from .heads import empty_memory, per_head, unit
from .write import Write


class DeltaRule(AbstractFastWeightCell):
    """The delta rule: a write replaces the value stored under its key instead of adding to it.

        q_t = unit(SiLU(W_q x_t)),  k_t = unit(SiLU(W_k x_t)),  v_t = SiLU(W_v x_t)     of each head
        β_t = beta_max · σ(W_β x_t)
        S_t = S_{t−1} (I − β_t k_t k_tᵀ) + β_t v_t k_tᵀ,    y_t = S_t q_t

    With beta_max = 2 the transition has eigenvalues down to −1: two steps can make a rotation, so
    the memory can count modulo a number.

    Shapes: x (input,), q and k (heads, key), v (heads, value), β (heads,), S (heads, value, key), y
    (hidden,) with hidden = heads · value. Cost per step: O(input · hidden) for the projections,
    none of it sequential, and O(hidden · key) for the memory, sequential from chunk to chunk only.
    Source: Yang et al. 2024, arXiv:2406.06484, section 2.2, with SiLU and unit as in their code,
    flash-linear-attention; beta_max = 2 is from Grazzi et al. 2024, arXiv:2411.12537. Differs: the
    short convolutions before SiLU, and the output norm, are left to the network around the cell.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of one output, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        key_size: features of the key of one head, > 0; None: as of its value.
        beta_max: largest β, in (0, 2].
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, a size is below 1, or beta_max is
            out of range.
    """

    is_delta_rule: ClassVar = True

    W_q: Float[Array, "keys input"]
    W_k: Float[Array, "keys input"]
    W_v: Float[Array, "hidden input"]
    W_beta: Float[Array, "heads input"]
    num_heads: int = eqx.field(static=True)
    beta_max: float = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int,
        key_size: int | None = None,
        beta_max: float = 1.0,
        key: PRNGKeyArray,
    ):
        check_heads("DeltaRule", hidden_size, num_heads)
        key_size = hidden_size // num_heads if key_size is None else key_size
        check_sizes("DeltaRule", input_size=input_size, key_size=key_size)
        check_beta_max("DeltaRule", beta_max)
        qk_key, v_key, beta_key = jax.random.split(key, 3)
        self.W_q, self.W_k = lecun_normal(qk_key, (2, num_heads * key_size, input_size))
        self.W_v = lecun_normal(v_key, (hidden_size, input_size))
        self.W_beta = lecun_normal(beta_key, (num_heads, input_size))
        self.num_heads = num_heads
        self.beta_max = beta_max

    @property
    def input_shape(self):
        return self.W_v.shape[-1:]

    def init_state(self):
        value_size, key_size = (len(W) // self.num_heads for W in (self.W_v, self.W_k))
        return empty_memory(self.num_heads, value_size, key_size, self.W_v)

    def project(self, x):
        q, k, v = (per_head(silu(x @ W.mT), self.num_heads) for W in (self.W_q, self.W_k, self.W_v))
        beta = self.beta_max * sigmoid(x @ self.W_beta.mT)[:, None]
        k = unit(k)
        return Write(unit(q), k, beta * v, remove=beta * k), None

    def output(self, reading, extra):
        return reading.ravel()


def check_beta_max(owner: str, beta_max: float) -> None:
    """Refuse a bound on β that lets the memory grow.

    Raises:
        ValueError: for a number outside of (0, 2].
    """
    if not 0 < beta_max <= 2:
        raise bad_input(
            f"{owner} got beta_max={beta_max}.",
            "more than 0 and at most 2: above 2, I − β k kᵀ has an eigenvalue below −1.",
            "leave it out for 1, or pass 2 for a memory that can rotate.",
        )
