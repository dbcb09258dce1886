from collections.abc import Sequence
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..gated.family import AbstractGatedCell
from .convolution import check_kernel, convolve, kernels, per_pixel


class ConvGRU(AbstractGatedCell):
    """Convolutional GRU: state and input are images, and the products are convolutions.

        r_t = σ(W_r ∗ x_t + U_r ∗ h_{t−1} + b_r)                        reset gate
        z_t = σ(W_z ∗ x_t + U_z ∗ h_{t−1} + b_z)                        update gate
        n_t = tanh(W_n ∗ x_t + b_n + r_t ∘ (U_n ∗ h_{t−1} + c))         candidate
        h_t = (1 − z_t) ∘ n_t + z_t ∘ h_{t−1}
        y_t = h_t

    (K ∗ x)_p = Σ_j K_j x_{p + j} over the places j around the centre of the kernel, and x is 0
    outside of the image, so h has as many pixels as x.

    Shapes: x (*space, channels), h and y (*space, hidden), with any number of axes of space. Cost
    per step: O(pixels · places · hidden · (channels + hidden)), of which
    O(pixels · places · hidden²) is sequential, where places are the pixels of a kernel.
    Source: Shi et al. 2017, arXiv:1706.03458, ConvGRU. The paper's equations were not read; these
    are those of `TrajGRU` in github.com/Hzzone/Precipitation-Nowcasting, with a convolution in
    place of the states that it moves. Differs: a bias c inside the reset gate, as in `seqmem.GRU`,
    and tanh in place of a leaky ReLU. The GRU-RCN of Ballas et al. 2015, arXiv:1511.06432, applies
    the reset gate before the convolution. Each gate's U has orthonormal rows at the start, as a
    matrix (hidden, places · hidden).

    Args:
        input_shape: the sizes of an image, channels last, each > 0.
        hidden_size: features of the state at each pixel, > 0.
        width: pixels of the kernels along each axis of space, odd; or one number for each axis.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, an image without an axis of
            space, or an even width, which has no centre.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.ConvGRU((11, 3), 5, width=5, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, None, jax.numpy.ones((7, 11, 3)))
        >>> state.shape, ys.shape
        ((11, 5), (7, 11, 5))
    """

    gates: ClassVar = ("reset", "update", "candidate")
    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "3 hidden *widths channels"]
    U: Float[Array, "3 hidden *widths hidden"]
    b: Float[Array, "3 hidden"]
    c: Float[Array, " hidden"]
    space: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        input_shape: Sequence[int],
        hidden_size: int,
        *,
        width: int | Sequence[int] = 3,
        key: PRNGKeyArray,
    ):
        widths = check_kernel("ConvGRU", input_shape, hidden_size, width)
        *space, channels = input_shape
        self.W, self.U = kernels(key, 3, hidden_size, channels, widths)
        self.b = jnp.zeros((3, hidden_size))
        self.c = jnp.zeros(hidden_size)
        self.space = tuple(space)

    @property
    def input_shape(self):
        return (*self.space, self.W.shape[-1])

    def init_state(self):
        return jnp.zeros((*self.space, self.b.shape[-1]), state_dtype(self.b))

    def project(self, x):
        return convolve(x, self.W) + per_pixel(self.b, self.space)

    def mix(self, h, u):
        m = convolve(h, self.U)
        return m[:2] + u[:2], m[2] + self.c, u[2]

    def gate(self, h, pre):
        (r, z), from_state, from_input = pre
        n = jnp.tanh(from_input + sigmoid(r) * from_state)
        z = sigmoid(z)
        return (1 - z) * n + z * h

    def readout(self, h, u):
        return h
