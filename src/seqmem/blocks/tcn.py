"""Temporal convolutional network: residual blocks of two dilated convolutions each.

A residual block is two window cells in a stack. The first passes its input on, next to its output.
"""

import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.window.causal_conv import CausalConv
from .._cells.window.family import AbstractWindowCell
from .._core.calls import makes_layer
from .._core.errors import bad_input
from .._core.validation import check_count, check_rate, check_sizes
from .._wrappers.masks import dropout_mask
from ..layers.stack import Stack


class NormedConv(eqx.Module):
    """A causal convolution with weight normalisation.

        W_jo = g_o V_jo / ‖V_o‖        over all taps j and inputs of an output o

    Source: Salimans & Kingma 2016, arXiv:1602.07868, section 2. Differs: none.
    """

    direction: CausalConv  # V in the place of W
    g: Float[Array, " output"]

    def __init__(
        self, input_size: int, output_size: int, width: int, *, dilation: int, key: PRNGKeyArray
    ):
        conv = CausalConv(input_size, output_size, width=width, dilation=dilation, key=key)
        width, _, inputs = conv.W.shape
        bound = 1 / math.sqrt(width * inputs)
        V = jax.random.uniform(key, conv.W.shape, minval=-bound, maxval=bound)
        self.direction = eqx.tree_at(lambda conv: conv.W, conv, V)
        self.g = jnp.linalg.norm(V, axis=(0, 2))

    def conv(self) -> CausalConv:
        V = self.direction.W
        W = (self.g / jnp.sqrt((V * V).sum((0, 2))))[:, None] * V
        return eqx.tree_at(lambda conv: conv.W, self.direction, W)


class Branch(AbstractWindowCell):
    """The first half of a residual block of `tcn`: (ReLU(conv(x)_t), x_t)."""

    normed: NormedConv

    @property
    def input_shape(self):
        return self.normed.direction.input_shape

    def init_state(self):
        return self.normed.direction.init_state()

    def project(self, x):
        return x, None

    def readout(self, window, u):
        x, _ = u
        return jax.nn.relu(self.normed.conv().readout(window, u)), x

    def readout_sequence(self, history, u):
        x, _ = u
        return jax.nn.relu(self.normed.conv().readout_sequence(history, u)), x


class Join(AbstractWindowCell):
    """The second half of a residual block of `tcn`: ReLU(ReLU(conv(h)_t) + R x_t), of (h_t, x_t).

    R is None, for the identity, where the sizes agree.
    """

    input_shape: ClassVar[Any] = ((None,), (None,))

    normed: NormedConv
    R: Float[Array, "output input"] | None

    def init_state(self):
        return self.normed.direction.init_state()

    def project(self, x):
        h, x = x
        return h, x

    def joined(self, z: Array, x: Array) -> Array:
        return jax.nn.relu(jax.nn.relu(z) + (x if self.R is None else x @ self.R.mT))

    def readout(self, window, u):
        return self.joined(self.normed.conv().readout(window, u), u[1])

    def readout_sequence(self, history, u):
        return self.joined(self.normed.conv().readout_sequence(history, u), u[1])


@makes_layer
def tcn(
    input_size: int, hidden_size: int, *, num_levels: int, width: int, key: PRNGKeyArray
) -> Stack:
    """Temporal convolutional network: a stack of residual blocks with growing dilation.

        h_t = ReLU(conv(x)_t)                   both convolutions with the dilation 2^level and
        y_t = ReLU(ReLU(conv'(h)_t) + R x_t)    weight normalisation; R where sizes differ

    y is the x of the next level. An output depends on the last 1 + 2 (width − 1)(2^levels − 1)
    inputs. The network is a cell, of two layers for each level: it can be stepped.

    Source: Bai et al. 2018, arXiv:1803.01271, section 3 and figure 1; dropout is
    `seqmem.blocks.with_channel_dropout`. The initial weights are uniform in ±1/√(width · inputs),
    as in the authors' program, where the normalisation overwrites the draw from N(0, 0.01) except
    in R. Differs: biases start at 0, and R has none.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the output of every level, > 0.
        num_levels: number of residual blocks, > 0.
        width: taps of each convolution, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size below 1.

    Example:
        >>> import jax, seqmem
        >>> net = seqmem.blocks.tcn(3, 5, num_levels=2, width=4, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(net, None, jax.numpy.ones((7, 3)))
        >>> ys.shape
        (7, 5)
    """
    check_sizes("tcn", input_size=input_size, hidden_size=hidden_size, width=width)
    check_count(
        "tcn",
        "num_levels",
        num_levels,
        remedy="choose it so that 1 + 2 (width − 1)(2^num_levels − 1) covers the longest lag.",
    )
    layers = []
    for level, level_key in enumerate(jax.random.split(key, num_levels)):
        keys = jax.random.split(level_key, 3)
        level_input = hidden_size if level else input_size
        R = None
        if level_input != hidden_size:
            R = 0.01 * jax.random.normal(keys[2], (hidden_size, level_input))
        options = {"dilation": 2**level}
        first = NormedConv(level_input, hidden_size, width, **options, key=keys[0])
        second = NormedConv(hidden_size, hidden_size, width, **options, key=keys[1])
        layers += [Branch(first), Join(second, R)]
    return Stack(layers)


@makes_layer
def with_channel_dropout(net: Stack, rate: float, *, key: PRNGKeyArray) -> Stack:
    """The network with channel dropout, for one training step: whole channels of each convolution
    are set to 0, the others scaled by 1/(1 − rate).

    The channel of a ReLU is scaled by scaling its g and its bias, so the same channels are dropped
    at all steps and in all sequences of one `unroll`. For a different mask in each sequence, use
    `jax.vmap` over keys.

    Source: Bai et al. 2018, arXiv:1803.01271, section 3.4 (spatial dropout). Differs: one mask
    for a batch; the authors' program drops single entries.

    Args:
        net: made by `tcn`.
        rate: share of channels to drop, 0 <= rate < 1.
        key: random key for the mask.

    Raises:
        ValueError: for another rate, or a network that `tcn` did not make.

    Example:
        >>> import jax, seqmem
        >>> net = seqmem.blocks.tcn(3, 5, num_levels=2, width=4, key=jax.random.key(0))
        >>> net = seqmem.blocks.with_channel_dropout(net, 0.05, key=jax.random.key(1))
        >>> state, ys = seqmem.unroll(net, None, jax.numpy.ones((7, 3)))
    """
    if not all(isinstance(cell, Branch | Join) for cell in net.layers):
        raise bad_input(
            f"with_channel_dropout got {[type(cell).__name__ for cell in net.layers]}.",
            "a stack that seqmem.blocks.tcn made.",
            "drop the channels of the network before it is stacked with other cells.",
        )
    check_rate("with_channel_dropout", rate)

    def scaled(cell: Any, key: PRNGKeyArray) -> Any:
        def channels(cell: Any) -> tuple[Array, Array]:
            return cell.normed.g, cell.normed.direction.b

        g, b = channels(cell)
        mask = dropout_mask(key, rate, g.shape, g.dtype)
        return eqx.tree_at(channels, cell, (g * mask, b * mask))

    keys = jax.random.split(key, len(net.layers))
    return Stack([scaled(cell, key) for cell, key in zip(net.layers, keys, strict=True)])
