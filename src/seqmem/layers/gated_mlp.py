"""`GatedMLP`: the feed-forward layer of today's language models."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.initialisers import lecun_normal
from .._cells.pointwise import AbstractPointwiseCell
from .._core.validation import check_sizes


class GatedMLP(AbstractPointwiseCell):
    """A feed-forward layer with a gate: y_t = W_o (f(W_g x_t + b_g) ∘ (W_u x_t + b_u)) + b_o.

    With f = SiLU it is SwiGLU, with GELU GEGLU.

    Shapes: x and y (size,), W_g and W_u (hidden, size), W_o (size, hidden). Cost per step:
    O(size · hidden), none of it sequential.
    Source: Shazeer 2020, arXiv:2002.05202, equations 5 and 6, without biases there.

    Args:
        size: features of one input and of one output, > 0.
        hidden_size: features between them, > 0.
        activation: f, entry by entry.
        bias: whether there are biases, which start at 0.
        key: random key for the initial matrices.

    Raises:
        ValueError: for a size below 1.

    Example:
        >>> import jax, seqmem
        >>> mlp = seqmem.layers.GatedMLP(6, 16, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(mlp, None, jax.numpy.ones((7, 6)))
        >>> ys.shape
        (7, 6)
    """

    W_g: Float[Array, "hidden size"]
    W_u: Float[Array, "hidden size"]
    W_o: Float[Array, "size hidden"]
    b_g: Float[Array, " hidden"] | None
    b_u: Float[Array, " hidden"] | None
    b_o: Float[Array, " size"] | None
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        size: int,
        hidden_size: int,
        *,
        activation: Callable[[Array], Array] = jax.nn.silu,
        bias: bool = False,
        key: PRNGKeyArray,
    ):
        check_sizes("GatedMLP", size=size, hidden_size=hidden_size)
        keys = jax.random.split(key)
        self.W_g, self.W_u = lecun_normal(keys[0], (2, hidden_size, size))
        self.W_o = lecun_normal(keys[1], (size, hidden_size))
        self.b_g, self.b_u = (jnp.zeros(hidden_size) if bias else None for _ in range(2))
        self.b_o = jnp.zeros(size) if bias else None
        self.activation = activation

    @property
    def input_shape(self):
        return self.W_g.shape[-1:]

    def project(self, x):
        gate, value = (_affine(W, b, x) for W, b in ((self.W_g, self.b_g), (self.W_u, self.b_u)))
        return _affine(self.W_o, self.b_o, self.activation(gate) * value)


def _affine(W: Array, b: Array | None, x: Array) -> Array:
    return x @ W.mT if b is None else x @ W.mT + b
