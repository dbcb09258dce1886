import jax
from jax.nn import silu
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.initialisers import lecun_normal
from .._cells.window.depthwise_conv import DepthwiseConv
from .._cells.window.family import AbstractWindowCell


class ShortConv(AbstractWindowCell):
    """The input projections of a block, of which one goes through a short depthwise convolution.

        y_t = (SiLU(conv(W x)_t), U x_t)

    Shapes: x (input,), y ((conv,), (bypass,)), state (width, conv), that of the convolution. Cost
    per step: O(input · (conv + bypass)), none of it sequential.
    Source: Dao & Gu 2024, arXiv:2405.21060, section 7. Differs: none.

    Args:
        input_size: features of one input, > 0.
        conv_size: features that the convolution filters over time, > 0.
        bypass_size: features that bypass the convolution, > 0.
        width: taps of the convolution, > 0.
        bias: whether the convolution has a bias.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a width below 1.
    """

    W: Float[Array, "conv input"]
    U: Float[Array, "bypass input"]
    conv: DepthwiseConv

    def __init__(
        self,
        input_size: int,
        conv_size: int,
        bypass_size: int,
        *,
        width: int,
        bias: bool,
        key: PRNGKeyArray,
    ):
        keys = jax.random.split(key, 3)
        self.W = lecun_normal(keys[0], (conv_size, input_size))
        self.U = lecun_normal(keys[1], (bypass_size, input_size))
        self.conv = DepthwiseConv(conv_size, width=width, bias=bias, key=keys[2])

    @property
    def input_shape(self):
        return (self.W.shape[1],)

    def init_state(self):
        return self.conv.init_state()

    def project(self, x):
        return x @ self.W.mT, x @ self.U.mT

    def readout(self, window, u):
        return silu(self.conv.readout(window, u)), u[1]

    def readout_sequence(self, history, u):
        return silu(self.conv.readout_sequence(history, u)), u[1]
