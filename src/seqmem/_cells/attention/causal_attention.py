import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.cache import Cache
from ..._core.cell import AbstractCell
from ..._core.precision import as_precision, precision, state_dtype
from ..._core.validation import check_divisor, check_heads, check_positive, check_sizes
from ..._methods.segments import scan_segments, segment_size
from ..initialisers import lecun_normal
from ..normalisation import rms_norm
from .attend import attend
from .family import ATTENTION, Tokens
from .linear import linear
from .positions import AbstractPositions, NoPositions, RoPE


class CausalAttention(AbstractCell):
    """Causal multi-head attention to all inputs so far, with a cache of a given capacity.

        q_t, k_t, v_t = W_q x_t + b_q, W_k x_t + b_k, W_v x_t + b_v    split into heads of size d
        q_t, k_t ← (1 + n_q) ∘ rms(q_t), (1 + n_k) ∘ rms(k_t)          with `norm_qk`
        a_tj = softmax_j(scale q_t · k_j)                              j = 1, ..., t
        o_t = concat(Σ_j a_tj v_j)                                     over the heads
        y_t = W_o (σ(W_g x_t + b_g) ∘ o_t) + b_o                       σ(...) with `gated`

    for every head. RoPE rotates q and k before the product, ALiBi adds a bias to it. Query heads
    share key and value heads in groups, in order. A reset empties the cache.

    The cache has room for `capacity` inputs from the first one, or from a reset, on. What is known
    to be more is refused; where the number of tokens is traced, under `jax.jit`, the outputs of the
    steps that found no room are NaN, until a reset.

    `Parallel` computes all outputs at once, some queries at a time, so that the products of all
    pairs of steps are never in memory; `Parallel(chunk_size=n)` says how many.

    Shapes: x and y (input,), state: keys and values (capacity, num_key_value_heads, d) and the
    number of tokens. Cost per step: O(input · num_heads · d + capacity · num_heads · d), none of
    it sequential.
    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2; groups are from Ainslie et al. 2023,
    arXiv:2305.13245, section 2.2. Differs: the norm and the gate, which are those of Qwen3-Next in
    transformers 5.24, and biases, if asked for.

    Args:
        input_size: features of one input and of one output, > 0.
        num_heads: query heads, > 0.
        capacity: tokens that the cache has room for, > 0.
        num_key_value_heads: key and value heads, > 0, a divisor of num_heads; None is num_heads.
        head_size: d, > 0; None is input_size / num_heads.
        positions: `RoPE()`, `ALiBi()`, or None.
        norm_qk: whether queries and keys are normalised.
        gated: whether outputs are multiplied by a gate.
        bias: whether to add b_q, b_k, b_v and b_g.
        output_bias: whether to add b_o.
        scale: > 0; None is 1/√d.
        eps: ε of the norm, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, heads that do not divide
            evenly, positions that do not fit the size of a head, and a scale or ε of 0 or below.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.CausalAttention(8, num_heads=2, capacity=11, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, None, jax.numpy.ones((7, 8)))
        >>> state, y = cell(state, jax.numpy.ones(8))
        >>> state.key.shape, int(state.num_tokens)
        ((11, 2, 4), 8)
    """

    family = ATTENTION

    W_q: Float[Array, "heads_size input"]
    W_k: Float[Array, "shared_size input"]
    W_v: Float[Array, "shared_size input"]
    W_g: Float[Array, "heads_size input"] | None
    W_o: Float[Array, "input heads_size"]
    b_q: Float[Array, " heads_size"] | None
    b_k: Float[Array, " shared_size"] | None
    b_v: Float[Array, " shared_size"] | None
    b_g: Float[Array, " heads_size"] | None
    b_o: Float[Array, " input"] | None
    n_q: Float[Array, " size"] | None
    n_k: Float[Array, " size"] | None
    num_heads: int = eqx.field(static=True)
    capacity: int = eqx.field(static=True)
    positions: AbstractPositions = eqx.field(static=True)
    scale: float = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        *,
        num_heads: int,
        capacity: int,
        num_key_value_heads: int | None = None,
        head_size: int | None = None,
        positions: AbstractPositions | None = RoPE(),
        norm_qk: bool = False,
        gated: bool = False,
        bias: bool = False,
        output_bias: bool = False,
        scale: float | None = None,
        eps: float = 1e-6,
        key: PRNGKeyArray,
    ):
        name = "CausalAttention"
        check_sizes(name, input_size=input_size, num_heads=num_heads, capacity=capacity)
        if head_size is None:
            check_heads(name, input_size, num_heads)
            head_size = input_size // num_heads
        if num_key_value_heads is None:
            num_key_value_heads = num_heads
        check_sizes(name, head_size=head_size)
        check_divisor(name, "num_key_value_heads", num_key_value_heads, "num_heads", num_heads)
        if scale is None:
            scale = 1 / math.sqrt(head_size)
        check_positive(name, "scale", scale, remedy="leave it out for 1/√head_size.")
        check_positive(name, "eps", eps, remedy="leave it out for 1e-6.")
        self.positions = positions or NoPositions()
        self.positions.check(head_size)
        all_heads, shared = num_heads * head_size, num_key_value_heads * head_size
        keys = jax.random.split(key, 5)
        self.W_q = lecun_normal(keys[0], (all_heads, input_size))
        self.W_k = lecun_normal(keys[1], (shared, input_size))
        self.W_v = lecun_normal(keys[2], (shared, input_size))
        self.W_g = lecun_normal(keys[3], (all_heads, input_size)) if gated else None
        self.W_o = lecun_normal(keys[4], (input_size, all_heads))
        self.b_q = jnp.zeros(all_heads) if bias else None
        self.b_k = jnp.zeros(shared) if bias else None
        self.b_v = jnp.zeros(shared) if bias else None
        self.b_g = jnp.zeros(all_heads) if bias and gated else None
        self.b_o = jnp.zeros(input_size) if output_bias else None
        self.n_q = jnp.zeros(head_size) if norm_qk else None
        self.n_k = jnp.zeros(head_size) if norm_qk else None
        self.num_heads, self.capacity = num_heads, capacity
        self.scale, self.eps = float(scale), float(eps)

    @property
    def input_shape(self):
        return self.W_q.shape[-1:]

    @property
    def head_size(self) -> int:
        """d, the features of one head."""
        return self.W_q.shape[-2] // self.num_heads

    def init_state(self):
        shape = self.capacity, self.W_k.shape[-2] // self.head_size, self.head_size
        dtype = state_dtype(self.W_q)
        return Cache(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype), jnp.zeros((), jnp.int32))

    def project(self, x):
        q, k, v = (
            linear(x, W, b).reshape(-1, self.head_size)
            for W, b in ((self.W_q, self.b_q), (self.W_k, self.b_k), (self.W_v, self.b_v))
        )
        if self.n_q is not None and self.n_k is not None:
            q, k = self._norm(q, self.n_q), self._norm(k, self.n_k)
        gate = None if self.W_g is None else jax.nn.sigmoid(linear(x, self.W_g, self.b_g))
        return (k, v), (q, gate)

    def _norm(self, vectors: Array, n: Array) -> Array:
        wide = as_precision((vectors, n), state_dtype(vectors))
        return as_precision(rms_norm(wide[0], self.eps) * (1 + wide[1]), precision(vectors))

    def entry(self, u, position):
        """The key and the value that the cache gets of a step at a position, or of many steps."""
        (k, v), _ = u
        return self.positions.encode(k, position.astype(k.dtype)), v

    def update(self, cache, u):
        position = cache.num_tokens
        cache = cache.write(position, *self.entry(u, position))
        return cache._replace(num_tokens=position + 1)

    def readout(self, cache, u):
        index = jnp.arange(self.capacity, dtype=jnp.int32)
        position = cache.num_tokens[None] - 1
        tokens = Tokens(cache.key, cache.value, index, None, position, None, 1)
        return self.readout_sequence(tokens, jax.tree.map(lambda leaf: leaf[None], u))[0]

    def readout_sequence(self, tokens: Tokens, u):
        """The outputs of some steps, from the tokens that they see."""
        _, (q, gate) = u
        q = self.scale * self.positions.encode(q, tokens.query_position.astype(q.dtype))

        def attend_chunk(carry, chunk):
            (q, position, sequence), _ = chunk
            distance = position[:, None] - tokens.position
            visible = distance >= 0
            if sequence is not None:
                visible &= sequence[:, None] == tokens.sequence
            bias = self.positions.bias(self.num_heads, distance.astype(q.dtype))
            outputs = attend(q, tokens.key, tokens.value, visible, bias)
            has_room = position < self.capacity
            return carry, jnp.where(has_room[:, None, None], outputs, jnp.nan)

        size = segment_size(len(q), tokens.chunk_size)
        if size < len(q):  # the backward pass computes the products of a chunk again
            attend_chunk = jax.checkpoint(attend_chunk)
        queries = q, tokens.query_position, tokens.query_sequence
        _, outputs = scan_segments(attend_chunk, (), queries, size)
        outputs = outputs.reshape(len(q), -1)
        return linear(outputs if gate is None else gate * outputs, self.W_o, self.b_o)
