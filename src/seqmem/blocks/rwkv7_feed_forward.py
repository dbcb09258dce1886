"""The channel mixing of RWKV-7: a token shift, and a feed-forward layer with squared ReLU."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.initialisers import lecun_normal
from .._cells.window.family import AbstractWindowCell
from .._core.calls import makes_layer
from .._core.precision import state_dtype
from .._core.validation import check_sizes
from ..layers.stack import Stack


class ChannelMixing(AbstractWindowCell):
    """The layer of `rwkv7_feed_forward_block`, which has its equations.

    Before the first input, and before a reset, x is 0.
    """

    mu: Float[Array, " size"]
    W_k: Float[Array, "hidden size"]
    W_v: Float[Array, "size hidden"]

    @property
    def input_shape(self):
        return self.mu.shape

    def init_state(self):
        return jnp.zeros((2, len(self.mu)), state_dtype(self.mu))

    def project(self, x):
        return x, None

    def _mix(self, before: Array, x: Array) -> Array:
        k = (x + self.mu * (before - x)) @ self.W_k.mT
        return jax.nn.relu(k) ** 2 @ self.W_v.mT

    def readout(self, window, u):
        return self._mix(*window)

    def readout_sequence(self, history, u):
        return self._mix(history.shifted(1), history.shifted(0))


@makes_layer
def rwkv7_feed_forward_block(
    input_size: int, hidden_size: int | None = None, *, key: PRNGKeyArray
) -> Stack:
    """The channel mixing of RWKV-7: a feed-forward layer that also sees the input before.

        k_t = W_k (x_t + μ ∘ (x_{t−1} − x_t))
        y_t = W_v relu(k_t)²

    The block is a cell of one layer: it can be stepped.

    Shapes: x, y and μ (input,), k (hidden,). Cost per step: O(input · hidden), none of it
    sequential.
    Source: Peng et al. 2025, arXiv:2503.14456; `RWKV7FeedForward` of flash-linear-attention at
    commit bc3b101. Differs: μ is ½ at the start, there it varies with the channel and the layer,
    and W_v is drawn, there it is 0.

    Args:
        input_size: features of one input and of one output, > 0.
        hidden_size: features of k, > 0; None: four times the input's.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size below 1.

    Example:
        >>> import jax, seqmem
        >>> block = seqmem.blocks.rwkv7_feed_forward_block(6, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(block, None, jax.numpy.ones((11, 6)))
        >>> ys.shape
        (11, 6)
    """
    hidden_size = 4 * input_size if hidden_size is None else hidden_size
    check_sizes("rwkv7_feed_forward_block", input_size=input_size, hidden_size=hidden_size)
    keys = jax.random.split(key)
    mixing = ChannelMixing(
        mu=jnp.full(input_size, 0.5),
        W_k=lecun_normal(keys[0], (hidden_size, input_size)),
        W_v=lecun_normal(keys[1], (input_size, hidden_size)),
    )
    return Stack([mixing])
