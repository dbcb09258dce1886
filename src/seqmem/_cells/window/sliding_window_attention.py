import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.errors import bad_input
from ..._core.precision import state_dtype
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

    Shapes: x and y (size,), state: keys and values (n, key_value_heads, d), and (n,) flags of which
    are there, the oldest first. Cost per step: O(size² + n · size), none of it sequential.
    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2; the window is of Beltagy et al. 2020
    (Longformer), arXiv:2004.05150, section 3.1, one-sided as in Jiang et al. 2023 (Mistral),
    arXiv:2310.06825, section 2; groups are of Ainslie et al. 2023, arXiv:2305.13245, section 2.2.
    Differs: none. The window is n inputs as in Mistral's figure 1, where its text has n + 1.

    Args:
        size: entries of one input and of one output, shared evenly by the heads.
        heads: of queries, > 0.
        window: n, > 0.
        key_value_heads: of keys and values, a divisor of `heads`; None is as many.
        positions: `RoPE()`, `ALiBi()`, or None for a window without order.
        key: for the initial parameters.

    Raises:
        ValueError: for a window without entries, heads that do not divide what they share, and with
            RoPE heads of odd size.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.SlidingWindowAttention(8, 2, window=3, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, cell.init_state(), jax.numpy.ones((7, 8)))
        >>> state.key.shape, ys.shape
        ((3, 2, 4), (7, 8))
    """

    W_q: Float[Array, "size size"]
    W_k: Float[Array, "shared size"]
    W_v: Float[Array, "shared size"]
    W_o: Float[Array, "size size"]
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    heads: int = eqx.field(static=True)
    key_value_heads: int = eqx.field(static=True)
    window: int = eqx.field(static=True)
    positions: AbstractPositions = eqx.field(static=True)

    def __init__(
        self,
        size: int,
        heads: int,
        window: int,
        *,
        key_value_heads: int | None = None,
        positions: AbstractPositions | None = RoPE(),
        key: PRNGKeyArray,
    ):
        shared = heads if key_value_heads is None else key_value_heads
        if heads < 1 or shared < 1 or size % heads or heads % shared:
            raise bad_input(
                f"SlidingWindowAttention got size={size}, heads={heads} and "
                f"key_value_heads={key_value_heads}.",
                "heads that divide the size, and key_value_heads that divide the heads.",
                "choose divisors; key_value_heads=None gives every head its own keys and values.",
            )
        if window < 1:
            raise bad_input(
                f"SlidingWindowAttention got window={window}.",
                "at least 1: a step sees its own input.",
                "give the number of inputs to look at.",
            )
        self.positions = positions or NoPositions()
        self.positions.check(size // heads)
        rows = {"q": size, "k": shared * size // heads, "v": shared * size // heads, "o": size}
        W = lecun_normal(key, (sum(rows.values()), size))
        ends = [sum(list(rows.values())[:i]) for i in range(1, len(rows))]
        self.W_q, self.W_k, self.W_v, self.W_o = jnp.split(W, ends)
        self.input_shape = (size,)
        self.heads = heads
        self.key_value_heads = shared
        self.window = window

    def init_state(self):
        shape = (self.window, self.key_value_heads, self.input_shape[0] // self.heads)
        dtype = state_dtype(self.W_q)
        return Entry(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype), jnp.zeros(shape[0], dtype))

    def project(self, x):
        q = (x @ self.W_q.mT).reshape(self.heads, -1)
        k, v = ((x @ W.mT).reshape(self.key_value_heads, -1) for W in (self.W_k, self.W_v))
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
