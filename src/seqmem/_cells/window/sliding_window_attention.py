import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.errors import bad_input
from ..._core.precision import state_dtype
from ..._core.validation import check_divisor, check_heads
from ..initialisers import lecun_normal
from .banded import Entry, attend, attend_over_time
from .family import AbstractWindowCell
from .positions import AbstractPositions, NoPositions, RoPE


class SlidingWindowAttention(AbstractWindowCell):
    """Attention to the last n inputs, one's own among them.

        q_t, k_t, v_t = W_q x_t, W_k x_t, W_v x_t                    split into heads of size d
        a_tj = softmax_j(q_t · k_{t−j} / √d)                         j = 0, ..., n − 1
        y_t = W_o (Σ_j a_tj v_{t−j})                                 heads side by side

    for every head; with RoPE, q and k are turned before the product, with ALiBi a bias is added to
    it. Query heads share the heads of keys and values in groups, in order. Inputs from before the
    first, or before a reset, are not there, and are left out of the softmax.

    Shapes: x and y (input,), state: keys and values (n, num_key_value_heads, d), and (n,) flags of
    which are there, the oldest first. Cost per step: O(input² + n · input), none of it sequential.
    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2; the window is of Beltagy et al. 2020
    (Longformer), arXiv:2004.05150, section 3.1, one-sided as in Jiang et al. 2023 (Mistral),
    arXiv:2310.06825, section 2; groups are of Ainslie et al. 2023, arXiv:2305.13245, section 2.2.
    Differs: none. The window is n inputs as in Mistral's figure 1, where its text has n + 1.

    Args:
        input_size: features of one input and of one output, a multiple of `num_heads`.
        num_heads: number of heads of queries, > 0.
        window: n, > 0.
        num_key_value_heads: number of heads of keys and values, a divisor of `num_heads`; None: as
            many.
        positions: `RoPE()`, `ALiBi()`, or None for a window without order.
        key: for the initial parameters.

    Raises:
        ValueError: for a window without entries, heads that do not divide what they share, and with
            RoPE heads of odd size.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.SlidingWindowAttention(8, num_heads=2, window=3, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, cell.init_state(), jax.numpy.ones((7, 8)))
        >>> state.key.shape, ys.shape
        ((3, 2, 4), (7, 8))
    """

    W_q: Float[Array, "input input"]
    W_k: Float[Array, "shared input"]
    W_v: Float[Array, "shared input"]
    W_o: Float[Array, "input input"]
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    num_heads: int = eqx.field(static=True)
    num_key_value_heads: int = eqx.field(static=True)
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
        key: PRNGKeyArray,
    ):
        if num_key_value_heads is None:
            num_key_value_heads = num_heads
        check_heads("SlidingWindowAttention", input_size, num_heads)
        check_divisor(
            "SlidingWindowAttention",
            "num_key_value_heads",
            num_key_value_heads,
            "num_heads",
            num_heads,
        )
        if window < 1:
            raise bad_input(
                f"SlidingWindowAttention got window={window}.",
                "at least 1: a step sees its own input.",
                "give the number of inputs to look at.",
            )
        self.positions = positions or NoPositions()
        head_size = input_size // num_heads
        self.positions.check(head_size)
        shared = num_key_value_heads * head_size
        rows = {"q": input_size, "k": shared, "v": shared, "o": input_size}
        W = lecun_normal(key, (sum(rows.values()), input_size))
        ends = [sum(list(rows.values())[:i]) for i in range(1, len(rows))]
        self.W_q, self.W_k, self.W_v, self.W_o = jnp.split(W, ends)
        self.input_shape = (input_size,)
        self.num_heads = num_heads
        self.num_key_value_heads = num_key_value_heads
        self.window = window

    def init_state(self):
        shape = (self.window, self.num_key_value_heads, self.input_shape[0] // self.num_heads)
        dtype = state_dtype(self.W_q)
        return Entry(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype), jnp.zeros(shape[0], dtype))

    def project(self, x):
        q = (x @ self.W_q.mT).reshape(self.num_heads, -1)
        k, v = ((x @ W.mT).reshape(self.num_key_value_heads, -1) for W in (self.W_k, self.W_v))
        return Entry(k, v, jnp.ones((), k.dtype)), q

    def readout(self, window, u):
        _, q = u
        at = jnp.arange(self.window, dtype=q.dtype)[None]
        entries = Entry(*(leaf[None] for leaf in window))
        seen = jnp.ones((1, 1, self.window), bool)
        shown = attend(self.positions, q[None, None], entries, seen, (at[:, -1:], at))
        return shown.reshape(-1) @ self.W_o.mT

    def readout_sequence(self, history, u):
        _, q = u
        shown = attend_over_time(self.positions, q, history)
        return shown.reshape(len(q), -1) @ self.W_o.mT
