from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid, silu, softmax
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.validation import check_heads, check_sizes
from ..._methods.series import AbstractSeries
from ..initialisers import lecun_normal
from .family import AbstractFastWeightCell
from .heads import empty_memory, per_head
from .write import Transposed, Write

TEMPERATURE = 8  # of the forget gate, so that it starts near 1


class GSA(AbstractSeries):
    """Gated slot attention: softmax attention to a fixed number of slots, each with its own decay.

        q_t = SiLU(W_q x_t),  k_t = SiLU(W_k x_t),  v_t = SiLU(W_v x_t)      of each head
        α_t = σ(W_α x_t)^(1/8)                                               of each slot
        K_t = diag(α_t) K_{t−1} + (1 − α_t) k_tᵀ,    V_t = diag(α_t) V_{t−1} + (1 − α_t) v_tᵀ
        y_t = V_tᵀ softmax(K_t q_t)

    It is two memories, one after the other: `layers` are a fast-weight cell that holds Kᵀ and one
    that holds Vᵀ. `unroll` runs each of them over all of time, by its own default method;
    `seqmem.layers.LayerByLayer` chooses them.

    Shapes: x (input,), q and k (heads, key), v (heads, value), α (heads, slots), K (heads, slots,
    key), V (heads, slots, value), y (hidden,) with hidden = heads · value. Cost per step: O(input ·
    (hidden + heads · (key + slots))) for the projections, none of it sequential, and O(heads ·
    slots · (key + value)) for the memories, sequential from chunk to chunk only.
    Source: Zhang et al. 2024, arXiv:2409.07146, of which the abstract was read, and the authors'
    `GatedSlotAttention` in flash-linear-attention (commit bc3b101), whose equations these are.
    Differs: the activation, norm and projection of the output are in `seqmem.blocks.gsa_block`; the
    short convolutions are left out, as by default there.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of one output, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        key_size: features of the key of one head, > 0; None: as of its value.
        num_slots: number of slots of one head, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, or a size is below 1.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.GSA(3, 10, num_heads=2, num_slots=7, key=jax.random.key(0))
        >>> (keys, values), ys = seqmem.unroll(cell, None, jax.numpy.ones((11, 3)))
        >>> keys.matrix.shape, ys.shape
        ((2, 5, 7), (11, 10))
    """

    layers: tuple["SlotKeys", "SlotValues"]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int,
        key_size: int | None = None,
        num_slots: int = 64,
        key: PRNGKeyArray,
    ):
        check_heads("GSA", hidden_size, num_heads)
        key_size = hidden_size // num_heads if key_size is None else key_size
        check_sizes("GSA", input_size=input_size, key_size=key_size, num_slots=num_slots)
        qk_key, slot_key, value_key = jax.random.split(key, 3)
        W_q, W_k = lecun_normal(qk_key, (2, num_heads * key_size, input_size))
        W_alpha = lecun_normal(slot_key, (num_heads * num_slots, input_size))
        W_v = lecun_normal(value_key, (hidden_size, input_size))
        self.layers = (
            SlotKeys(W_q, W_k, W_alpha, num_heads),
            SlotValues(W_v, num_slots, num_heads),
        )

    def map_first(self, change: Callable[[Any], Any]) -> "GSA":
        first, *others = self.layers
        return eqx.tree_at(lambda cell: cell.layers, self, (change(first), *others))


class SlotKeys(AbstractFastWeightCell):
    """The first memory of `GSA`: Kᵀ, whose reading by q is one score per slot."""

    W_q: Float[Array, "keys input"]
    W_k: Float[Array, "keys input"]
    W_alpha: Float[Array, "slots input"]
    num_heads: int = eqx.field(static=True)

    @property
    def input_shape(self):
        return self.W_k.shape[-1:]

    def init_state(self):
        key_size, num_slots = (len(W) // self.num_heads for W in (self.W_k, self.W_alpha))
        return empty_memory(self.num_heads, key_size, num_slots, self.W_k)

    def project(self, x):
        q, k = (per_head(silu(x @ W.mT), self.num_heads) for W in (self.W_q, self.W_k))
        log_alpha = per_head(log_sigmoid(x @ self.W_alpha.mT) / TEMPERATURE, self.num_heads)
        share = -jnp.expm1(log_alpha)
        return Write(q, share, k, log_alpha, reading=Transposed()), (share, log_alpha, x)

    def output(self, reading, extra):
        return softmax(reading), *extra


class SlotValues(AbstractFastWeightCell):
    """The second memory of `GSA`: Vᵀ, read by what the first one shows.

    Shapes: x is the attention to the slots, the share of the step in them, ln α, each (heads,
    slots), and the input of `GSA`.
    """

    input_shape: ClassVar[Any] = ((None, None), (None, None), (None, None), (None,))

    W_v: Float[Array, "hidden input"]
    num_slots: int = eqx.field(static=True)
    num_heads: int = eqx.field(static=True)

    def init_state(self):
        value_size = len(self.W_v) // self.num_heads
        return empty_memory(self.num_heads, value_size, self.num_slots, self.W_v)

    def project(self, x):
        attention, share, log_alpha, x = x
        v = per_head(silu(x @ self.W_v.mT), self.num_heads)
        return Write(attention, share, v, log_alpha), None

    def output(self, reading, extra):
        return reading.ravel()
