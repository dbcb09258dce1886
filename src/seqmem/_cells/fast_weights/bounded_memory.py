import math
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import softmax
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_heads, check_sizes
from ..._methods.series import AbstractSeries
from ..diagonal.family import AbstractDiagonalCell
from ..initialisers import lecun_normal
from .family import AbstractFastWeightCell
from .heads import empty_memory, per_head
from .write import Transposed, Write

LARGEST = 32  # of |c|: sums of exp(c) then neither overflow nor vanish in float32


class ABC(AbstractSeries):
    """Attention with bounded-memory control: softmax attention to slots that are running means.

        q_t = W_q x_t / √d,  k_t = W_k x_t,  v_t = W_v x_t                   of each head
        e_t = exp(c_t),  c_t = W_c x_t clipped to [−32, 32]                  of each slot
        n_t = n_{t−1} + e_t,    K_t = K_{t−1} + e_t k_tᵀ,    V_t = V_{t−1} + e_t v_tᵀ
        y_t = (diag(n_t)⁻¹ V_t)ᵀ softmax(diag(n_t)⁻¹ K_t q_t)

    d is the key size. Where n_t is 0, it is replaced by 1. `layers` are a diagonal cell that holds
    n, a fast-weight cell that holds Kᵀ and one that holds Vᵀ. `unroll` runs each of them over all
    of time, by its own default method; `seqmem.layers.LayerByLayer` chooses them.

    Shapes: x (input,), q and k (heads, key), v (heads, value), c, e and n (heads, slots), K (heads,
    slots, key), V (heads, slots, value), y (hidden,) with hidden = heads · value. Cost per step:
    O(input · (hidden + heads · (key + slots))) for the projections, none of it sequential, and
    O(heads · slots · (key + value)) for the memories, sequential from chunk to chunk only.
    Source: Peng et al. 2021, arXiv:2110.02488, its ABC_MLP in the causal form; of the paper the
    abstract was read, the equations are those of `naive_cumsum_abc` in flash-linear-attention
    (commit bc3b101), and the clipping is that of its `ABCAttention`. Differs: its rotary positions,
    and the norm, gate and projection of its output, are left to the network around the cell.

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
        >>> cell = seqmem.ABC(3, 10, num_heads=2, num_slots=7, key=jax.random.key(0))
        >>> (sums, keys, values), ys = seqmem.unroll(cell, None, jax.numpy.ones((11, 3)))
        >>> sums.shape, keys.matrix.shape, ys.shape
        ((2, 7), (2, 5, 7), (11, 10))
    """

    layers: tuple["SlotSums", "MeanKeys", "MeanValues"]

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
        check_heads("ABC", hidden_size, num_heads)
        key_size = hidden_size // num_heads if key_size is None else key_size
        check_sizes("ABC", input_size=input_size, key_size=key_size, num_slots=num_slots)
        qk_key, slot_key, value_key = jax.random.split(key, 3)
        W_q, W_k = lecun_normal(qk_key, (2, num_heads * key_size, input_size))
        W_c = lecun_normal(slot_key, (num_heads * num_slots, input_size))
        W_v = lecun_normal(value_key, (hidden_size, input_size))
        self.layers = (
            SlotSums(W_c, num_heads),
            MeanKeys(W_q, W_k, num_slots, num_heads),
            MeanValues(W_v, num_slots, num_heads),
        )

    def map_first(self, change: Callable[[Any], Any]) -> "ABC":
        first, *others = self.layers
        return eqx.tree_at(lambda cell: cell.layers, self, (change(first), *others))


class SlotSums(AbstractDiagonalCell):
    """The sums of `ABC`: n_t = n_{t−1} + exp(c_t). It shows e, n and its input."""

    W_c: Float[Array, "slots input"]
    num_heads: int = eqx.field(static=True)

    @property
    def input_shape(self):
        return self.W_c.shape[-1:]

    def init_state(self):
        num_slots = len(self.W_c) // self.num_heads
        return jnp.zeros((self.num_heads, num_slots), state_dtype(self.W_c))

    def project(self, x):
        c = jnp.clip(x @ self.W_c.mT, -LARGEST, LARGEST)
        return per_head(c, self.num_heads), x

    def update(self, n, drive):
        return n + jnp.exp(drive[0])

    def readout(self, n, drive):
        c, x = drive
        return jnp.exp(c), n, x


class MeanKeys(AbstractFastWeightCell):
    """The first memory of `ABC`: Kᵀ, whose reading by q is one score per slot.

    Shapes: x is e and n, (heads, slots), and the input of `ABC`.
    """

    input_shape: ClassVar[Any] = ((None, None), (None, None), (None,))

    W_q: Float[Array, "keys input"]
    W_k: Float[Array, "keys input"]
    num_slots: int = eqx.field(static=True)
    num_heads: int = eqx.field(static=True)

    def init_state(self):
        key_size = len(self.W_k) // self.num_heads
        return empty_memory(self.num_heads, key_size, self.num_slots, self.W_k)

    def project(self, x):
        e, n, x = x
        q, k = (per_head(x @ W.mT, self.num_heads) for W in (self.W_q, self.W_k))
        return Write(q / math.sqrt(q.shape[-1]), e, k, reading=Transposed()), (e, n, x)

    def output(self, reading, extra):
        e, n, x = extra
        n = jnp.where(n == 0, 1, n)
        return softmax(reading / n) / n, e, x


class MeanValues(AbstractFastWeightCell):
    """The second memory of `ABC`: Vᵀ, read by what the first one shows.

    Shapes: x is the attention to the slots, divided by n, and e, (heads, slots), and the input of
    `ABC`.
    """

    input_shape: ClassVar[Any] = ((None, None), (None, None), (None,))

    W_v: Float[Array, "hidden input"]
    num_slots: int = eqx.field(static=True)
    num_heads: int = eqx.field(static=True)

    def init_state(self):
        value_size = len(self.W_v) // self.num_heads
        return empty_memory(self.num_heads, value_size, self.num_slots, self.W_v)

    def project(self, x):
        attention, e, x = x
        return Write(attention, e, per_head(x @ self.W_v.mT, self.num_heads)), None

    def output(self, reading, extra):
        return reading.ravel()
