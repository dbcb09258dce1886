"""Temporal convolutional network: residual blocks of two dilated convolutions each.

A block is two window cells in a stack, which hand its input along beside what they compute.
"""

import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.window.causal_conv import CausalConv
from .._cells.window.family import AbstractWindowCell
from .._core.errors import bad_input
from .._core.validation import check_rate
from .._wrappers.masks import dropout_mask
from ..layers.stack import Stack


class NormedConv(eqx.Module):
    """A causal convolution with weight normalisation.

        W_jo = g_o V_jo / ‖V_o‖        over all taps j and inputs of an output o

    Source: Salimans & Kingma 2016, arXiv:1602.07868, section 2. Differs: none.
    """

    direction: CausalConv  # V in the place of W
    g: Float[Array, " output"]

    def __init__(self, *sizes: int, dilation: int, key: PRNGKeyArray):
        conv = CausalConv(*sizes, dilation=dilation, key=key)
        width, _, inputs = conv.W.shape
        most = 1 / math.sqrt(width * inputs)
        V = jax.random.uniform(key, conv.W.shape, minval=-most, maxval=most)
        self.direction = eqx.tree_at(lambda conv: conv.W, conv, V)
        self.g = jnp.linalg.norm(V, axis=(0, 2))

    def conv(self) -> CausalConv:
        V = self.direction.W
        W = (self.g / jnp.sqrt((V * V).sum((0, 2))))[:, None] * V
        return eqx.tree_at(lambda conv: conv.W, self.direction, W)


class Branch(AbstractWindowCell):
    """h_t = ReLU(conv(x)_t), shown beside x_t."""

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
    """y_t = ReLU(ReLU(conv(h)_t) + R x_t) of h_t beside x_t; R is left out where sizes agree."""

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


def tcn(input_size: int, channels: int, levels: int, width: int, *, key: PRNGKeyArray) -> Stack:
    """Temporal convolutional network: a stack of residual blocks that see ever farther back.

        h_t = ReLU(conv(x)_t)                   both convolutions with the dilation 2^level and
        y_t = ReLU(ReLU(conv'(h)_t) + R x_t)    weight normalisation; R where sizes differ

    y is the x of the next level. An output sees the last 1 + 2 (width − 1)(2^levels − 1) inputs.
    It is a cell, of two layers for each level: it steps, and every law holds for it.

    Source: Bai et al. 2018, arXiv:1803.01271, section 3 and figure 1; dropout is
    `seqmem.blocks.with_channel_dropout`. The weights begin uniform in ±1/√(width · inputs), as in
    the authors' program, whose draw from N(0, 0.01) is overwritten by the normalisation but in R.
    Differs: biases begin at 0, and R has none.

    Args:
        input_size: entries of one input, > 0.
        channels: entries of the output of every level, > 0.
        levels: residual blocks, > 0.
        width: taps of each convolution, > 0.
        key: for the initial parameters.

    Raises:
        ValueError: for sizes below 1.

    Example:
        >>> import jax, seqmem
        >>> net = seqmem.blocks.tcn(3, 5, levels=2, width=4, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(net, net.init_state(), jax.numpy.ones((7, 3)))
        >>> ys.shape
        (7, 5)
    """
    if min(input_size, channels, levels) < 1:
        raise bad_input(
            f"tcn got input_size={input_size}, channels={channels} and levels={levels}.",
            "at least 1 of each.",
            "choose levels so that 1 + 2 (width − 1)(2^levels − 1) covers the longest lag.",
        )
    cells = []
    for level, own in enumerate(jax.random.split(key, levels)):
        first, second, across = jax.random.split(own, 3)
        inputs = channels if level else input_size
        R = None if inputs == channels else 0.01 * jax.random.normal(across, (channels, inputs))
        branch = NormedConv(inputs, channels, width, dilation=2**level, key=first)
        joined = NormedConv(channels, channels, width, dilation=2**level, key=second)
        cells += [Branch(branch), Join(joined, R)]
    return Stack(cells)


def with_channel_dropout(net: Stack, rate: float, *, key: PRNGKeyArray) -> Stack:
    """The same network, for one step of training: whole channels of each convolution are left out,
    the others scaled by 1/(1 − rate).

    A channel of a ReLU is scaled by scaling its g and its bias, so this is a function of the
    parameters: over time, and between the sequences of one `unroll`, nothing differs. For a draw of
    its own for each sequence, map over keys.

    Source: Bai et al. 2018, arXiv:1803.01271, section 3.4 (spatial dropout). Differs: one draw for
    a batch; the authors' program drops single entries.

    Args:
        net: made by `tcn`.
        rate: the share of channels to leave out, 0 <= rate < 1.
        key: for the draw.

    Raises:
        ValueError: where the rate is none, or the network none of `tcn`.

    Example:
        >>> import jax, seqmem
        >>> net = seqmem.blocks.tcn(3, 5, levels=2, width=4, key=jax.random.key(0))
        >>> net = seqmem.blocks.with_channel_dropout(net, 0.05, key=jax.random.key(1))
        >>> state, ys = seqmem.unroll(net, net.init_state(), jax.numpy.ones((7, 3)))
    """
    if not all(isinstance(cell, Branch | Join) for cell in net.layers):
        raise bad_input(
            f"with_channel_dropout got {[type(cell).__name__ for cell in net.cells]}.",
            "a stack that seqmem.blocks.tcn made.",
            "put the network by itself into the call, before it is stacked with other cells.",
        )
    check_rate("with_channel_dropout", rate)

    def scaled(cell: Any, key: PRNGKeyArray) -> Any:
        def channels(cell: Any) -> tuple[Array, Array]:
            return cell.normed.g, cell.normed.direction.b

        g, b = channels(cell)
        kept = dropout_mask(key, rate, g.shape, g.dtype)
        return eqx.tree_at(channels, cell, (g * kept, b * kept))

    keys = jax.random.split(key, len(net.layers))
    return Stack([scaled(cell, own) for cell, own in zip(net.layers, keys, strict=True)])
