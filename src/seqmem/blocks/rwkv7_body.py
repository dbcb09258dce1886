"""The layers of an RWKV-7 model, which hand the values of the first one on to the others."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import PRNGKeyArray, PyTree

from .._core.calls import makes_layer
from .._core.validation import check_sizes
from ..layers.around import AbstractAround
from ..layers.map import Map
from ..layers.norms import LayerNorm
from ..layers.residual import Residual, add_residual
from ..layers.stack import Stack
from .rwkv7 import rwkv7_block
from .rwkv7_cores import RWKV7Ranks
from .rwkv7_feed_forward import rwkv7_feed_forward_block


class WithValues(AbstractAround):
    """A layer of the first part of a pair, whose second part passes it: (layer(x)_t, v¹_t)."""

    layer: Any

    @property
    def input_shape(self):
        return self.layer.input_shape, (None,)

    def before(self, x: PyTree) -> PyTree:
        return x[0]

    def after(self, x: PyTree, y: PyTree) -> PyTree:
        return y, x[1]

    def map_first(self, change: Callable[[Any], Any]) -> "WithValues":
        return WithValues(change(self.layer))


class ResidualWithValues(AbstractAround):
    """A residual connection around a layer that returns a pair (y_t, v¹_t): (x_t + y_t, v¹_t), for
    the input x_t or (x_t, v¹_t).
    """

    layer: Any

    @property
    def input_shape(self):
        return self.layer.input_shape

    def before(self, x: PyTree) -> PyTree:
        return x

    def after(self, x: PyTree, y: PyTree) -> PyTree:
        x = x[0] if isinstance(x, tuple) else x
        return add_residual(x, y[0]), y[1]

    def map_first(self, change: Callable[[Any], Any]) -> "ResidualWithValues":
        return ResidualWithValues(change(self.layer))


@makes_layer
def rwkv7_body(
    size: int,
    hidden_size: int | None = None,
    *,
    num_layers: int,
    num_heads: int,
    rank: int | RWKV7Ranks = 32,
    eps: float = 1e-5,
    key_eps: float = 1e-6,
    first_norm: bool = True,
    key: PRNGKeyArray,
) -> Stack:
    """The layers of an RWKV-7 model, for `seqmem.models.LanguageModel`.

        x⁰_t = norm(x_t)
        y_t, v¹_t = mixing(norm(xˡ), v¹)_t                             `rwkv7_block`
        x_t = xˡ_t + y_t
        xˡ⁺¹_t = x_t + feed_forward(norm(x))_t                         `rwkv7_feed_forward_block`

    The norms are layer norms, each with its own parameters; v¹ are the values of the first layer.

    Shapes: x and all xˡ (size,). Cost per step: O(layers · size · (size + hidden)), of which
    O(layers · size² / heads) is sequential from chunk to chunk.
    Source: Peng et al. 2025, arXiv:2503.14456; `RWKV7Model` of flash-linear-attention at commit
    bc3b101. Differs: the initial parameters are those of the two blocks.

    Args:
        size: features of one input and of one output, a multiple of `num_heads`.
        hidden_size: features inside the feed-forward layers, > 0; None: four times the size.
        num_layers: number of layers of two blocks, > 0.
        num_heads: number of heads, > 0.
        rank: as for `rwkv7_block`.
        eps: ε of the norms, > 0; of those within the heads, it is times the size of a head.
        key_eps: as for `rwkv7_block`.
        first_norm: whether the input is normed before the first layer.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the size, or a size is below 1.

    Example:
        >>> import jax, seqmem
        >>> body = seqmem.blocks.rwkv7_body(
        ...     6, num_layers=2, num_heads=2, rank=3, key=jax.random.key(0)
        ... )
        >>> state, ys = seqmem.unroll(body, None, jax.numpy.ones((7, 6)))
        >>> ys.shape
        (7, 6)
    """
    check_sizes("rwkv7_body", num_layers=num_layers, num_heads=num_heads)
    layers: list[Any] = [LayerNorm(size, eps=eps)] if first_norm else []
    for index, layer_key in enumerate(jax.random.split(key, num_layers)):
        mixing_key, feed_forward_key = jax.random.split(layer_key)
        norm = LayerNorm(size, eps=eps)
        mixing = rwkv7_block(
            size,
            num_heads=num_heads,
            rank=rank,
            eps=eps * (size // num_heads),
            key_eps=key_eps,
            first_layer=index == 0,
            key=mixing_key,
        )
        layers.append(ResidualWithValues(Stack([norm if index == 0 else WithValues(norm), mixing])))
        feed_forward = rwkv7_feed_forward_block(size, hidden_size, key=feed_forward_key)
        layers.append(WithValues(Residual(Stack([LayerNorm(size, eps=eps), feed_forward]))))
    return Stack([*layers, Map(_first, input_shape=((None,), (None,)))])


def _first(pair: PyTree) -> PyTree:
    return pair[0]
