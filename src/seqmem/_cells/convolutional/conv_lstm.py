from collections.abc import Sequence
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..gated.family import AbstractGatedCell
from ..gated.lstm import LSTMState
from ..initialisers import gate_biases
from .convolution import check_kernel, convolve, kernels, per_pixel


class ConvLSTM(AbstractGatedCell):
    """Convolutional LSTM: state and input are images, and the products are convolutions.

        i_t = σ(W_i ∗ x_t + U_i ∗ h_{t−1} + b_i)               input gate
        f_t = σ(W_f ∗ x_t + U_f ∗ h_{t−1} + b_f)               forget gate
        g_t = tanh(W_g ∗ x_t + U_g ∗ h_{t−1} + b_g)            cell gate
        o_t = σ(W_o ∗ x_t + U_o ∗ h_{t−1} + b_o)               output gate
        c_t = f_t ∘ c_{t−1} + i_t ∘ g_t
        h_t = o_t ∘ tanh(c_t)
        y_t = h_t

    (K ∗ x)_p = Σ_j K_j x_{p + j} over the places j around the centre of the kernel, and x is 0
    outside of the image, so h has as many pixels as x.

    Shapes: x (*space, channels), h, c and y (*space, hidden), with any number of axes of space.
    Cost per step: O(pixels · places · hidden · (channels + hidden)), of which
    O(pixels · places · hidden²) is sequential, where places are the pixels of a kernel.
    Source: Shi et al. 2015, arXiv:1506.04214. The paper's equations were not read; these are those
    of `keras.layers.ConvLSTM2D` of Keras 3.15. Differs: from the paper, no peepholes. Each gate's U
    has orthonormal rows at the start, as a matrix (hidden, places · hidden).

    Args:
        input_shape: the sizes of an image, channels last, each > 0.
        hidden_size: features of h and of c at each pixel, > 0.
        width: pixels of the kernels along each axis of space, odd; or one number for each axis.
        forget_bias: initial bias of the forget gate.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, an image without an axis of
            space, or an even width, which has no centre.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.ConvLSTM((8, 9, 3), 5, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, None, jax.numpy.ones((7, 2, 8, 9, 3)))
        >>> state.c.shape, ys.shape
        ((2, 8, 9, 5), (7, 2, 8, 9, 5))
    """

    gates: ClassVar = ("input", "forget", "cell", "output")
    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "4 hidden *widths channels"]
    U: Float[Array, "4 hidden *widths hidden"]
    b: Float[Array, "4 hidden"]
    space: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        input_shape: Sequence[int],
        hidden_size: int,
        *,
        width: int | Sequence[int] = 3,
        forget_bias: float = 1.0,
        key: PRNGKeyArray,
    ):
        widths = check_kernel("ConvLSTM", input_shape, hidden_size, width)
        *space, channels = input_shape
        self.W, self.U = kernels(key, 4, hidden_size, channels, widths)
        self.b = gate_biases(self.gates, hidden_size, forget=forget_bias)
        self.space = tuple(space)

    @property
    def input_shape(self):
        return (*self.space, self.W.shape[-1])

    def init_state(self):
        shape, dtype = (*self.space, self.b.shape[-1]), state_dtype(self.b)
        return LSTMState(*(jnp.zeros(shape, dtype) for _ in LSTMState._fields))

    def project(self, x):
        return convolve(x, self.W) + per_pixel(self.b, self.space)

    def mix(self, state, u):
        return convolve(state.h, self.U) + u

    def gate(self, state, z):
        i, f, g, o = z
        c = sigmoid(f) * state.c + sigmoid(i) * jnp.tanh(g)
        return LSTMState(sigmoid(o) * jnp.tanh(c), c)

    def readout(self, state, u):
        return state.h
