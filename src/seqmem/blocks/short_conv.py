import jax
from jax.nn import silu
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.initialisers import lecun_normal
from .._cells.window.depthwise_conv import DepthwiseConv
from .._cells.window.family import AbstractWindowCell


class ShortFilter(AbstractWindowCell):
    """The front of a block: projections, of which the mixed ones go through a short convolution.

        c_t = SiLU(conv(W x)_t),    beside U x_t

    Shapes: x (input,), c (mixed,), U x (beside,). The state is that of the convolution, (width,
    mixed). Cost per step: O(input · (mixed + beside)), none of it sequential.
    Source: Dao & Gu 2024, arXiv:2405.21060, section 7. Differs: none.

    Args:
        input_size: entries of one input, > 0.
        mixed: entries that the convolution mixes over time, > 0.
        beside: entries that are handed on as they are, > 0.
        width: taps of the convolution, > 0.
        bias: whether the convolution has one.
        key: for the initial parameters.

    Raises:
        ValueError: for a width below 1.
    """

    W: Float[Array, "mixed input"]
    U: Float[Array, "beside input"]
    conv: DepthwiseConv

    def __init__(
        self,
        input_size: int,
        mixed: int,
        beside: int,
        *,
        width: int,
        bias: bool,
        key: PRNGKeyArray,
    ):
        keys = jax.random.split(key, 3)
        self.W = lecun_normal(keys[0], (mixed, input_size))
        self.U = lecun_normal(keys[1], (beside, input_size))
        self.conv = DepthwiseConv(mixed, width, bias=bias, key=keys[2])

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
