import math

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_divisor, check_heads, check_sizes
from ..attention.linear import linear
from ..attention.positions import AbstractPositions, NoPositions, RoPE
from ..initialisers import lecun_normal
from .banded import Entry, attend_sequence, attend_window
from .family import AbstractWindowCell


class SlidingWindowAttention(AbstractWindowCell):
    """Causal multi-head attention to the last n inputs.

        q_t, k_t, v_t = W_q x_t + b_q, W_k x_t + b_k, W_v x_t + b_v    split into heads of size d
        a_tj = softmax_j(q_t · k_{t−j} / √d)                           j = 0, ..., n − 1
        y_t = W_o concat(Σ_j a_tj v_{t−j}) + b_o                       over the heads

    for every head. RoPE rotates q and k before the product, ALiBi adds a bias to it. Query heads
    share key and value heads in groups, in order. Steps before the first input or before a
    reset are left out of the softmax.

    Shapes: x and y (input,), state: keys and values (n, num_key_value_heads, d) and flags (n,) of
    valid entries, the oldest first. Cost per step: O(input² + n · input), none of it sequential.
    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2; the window is from Beltagy et al.
    2020 (Longformer), arXiv:2004.05150, section 3.1, one-sided as in Jiang et al. 2023 (Mistral),
    arXiv:2310.06825, section 2; groups are from Ainslie et al. 2023, arXiv:2305.13245, section 2.2.
    Differs: biases, if asked for. The window is n inputs as in Mistral's figure 1, where its text
    has n + 1.

    Args:
        input_size: features of one input and of one output, > 0, a multiple of num_heads.
        num_heads: query heads, > 0.
        window: n, > 0.
        num_key_value_heads: key and value heads, > 0, a divisor of num_heads; None is num_heads.
        positions: `RoPE()`, `ALiBi()`, or None for a window without order.
        bias: whether to add b_q, b_k and b_v.
        output_bias: whether to add b_o.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, heads that do not divide
            evenly, and with RoPE heads of odd size.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.SlidingWindowAttention(8, num_heads=2, window=3, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, None, jax.numpy.ones((7, 8)))
        >>> state.key.shape, ys.shape
        ((3, 2, 4), (7, 8))
    """

    W_q: Float[Array, "input input"]
    W_k: Float[Array, "shared input"]
    W_v: Float[Array, "shared input"]
    W_o: Float[Array, "input input"]
    b_q: Float[Array, " input"] | None
    b_k: Float[Array, " shared"] | None
    b_v: Float[Array, " shared"] | None
    b_o: Float[Array, " input"] | None
    num_heads: int = eqx.field(static=True)
    window: int = eqx.field(static=True)
    positions: AbstractPositions = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        *,
        num_heads: int,
        window: int,
        num_key_value_heads: int | None = None,
        positions: AbstractPositions | None = RoPE(),
        bias: bool = False,
        output_bias: bool = False,
        key: PRNGKeyArray,
    ):
        name = "SlidingWindowAttention"
        if num_key_value_heads is None:
            num_key_value_heads = num_heads
        check_sizes(name, input_size=input_size, num_heads=num_heads, window=window)
        check_heads(name, input_size, num_heads)
        check_divisor(name, "num_key_value_heads", num_key_value_heads, "num_heads", num_heads)
        self.positions = positions or NoPositions()
        self.positions.check(input_size // num_heads)
        shared = num_key_value_heads * input_size // num_heads
        W = lecun_normal(key, (2 * (input_size + shared), input_size))
        ends = (input_size, input_size + shared, input_size + 2 * shared)
        self.W_q, self.W_k, self.W_v, self.W_o = jnp.split(W, ends)
        self.b_q, self.b_k, self.b_v = (
            jnp.zeros(len(W)) if bias else None for W in (self.W_q, self.W_k, self.W_v)
        )
        self.b_o = jnp.zeros(input_size) if output_bias else None
        self.num_heads = num_heads
        self.window = window

    @property
    def input_shape(self):
        return self.W_q.shape[-1:]

    @property
    def head_size(self) -> int:
        """d, the features of one head."""
        return self.W_q.shape[-2] // self.num_heads

    def init_state(self):
        shape = self.window, self.W_k.shape[-2] // self.head_size, self.head_size
        dtype = state_dtype(self.W_q)
        return Entry(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype), jnp.zeros(shape[0], dtype))

    def project(self, x):
        q, k, v = (
            linear(x, W, b).reshape(-1, self.head_size)
            for W, b in ((self.W_q, self.b_q), (self.W_k, self.b_k), (self.W_v, self.b_v))
        )
        return Entry(k, v, jnp.ones((), k.dtype)), q / math.sqrt(self.head_size)

    def readout(self, window, u):
        _, q = u
        positions = jnp.arange(self.window)
        visible = jnp.ones((1, self.window), bool)
        outputs = attend_window(self.positions, q[None], window, visible, positions[-1:], positions)
        return linear(outputs.reshape(-1), self.W_o, self.b_o)

    def readout_sequence(self, history, u):
        _, q = u
        outputs = attend_sequence(self.positions, q, history)
        return linear(outputs.reshape(len(q), -1), self.W_o, self.b_o)
