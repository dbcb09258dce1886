import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import lecun_normal
from .family import AbstractWindowCell


class CausalConv(AbstractWindowCell):
    """Dilated causal convolution: a weighted sum of every d-th of the last inputs.

        y_t = Σ_j W_j x_{t − d j} + b        j = 0, ..., width − 1

    Before the first input, and before a reset, all inputs are 0.

    Shapes: x (input,), y (output,), state (d (width − 1) + 1, input), the oldest input first. Cost
    per step: O(width · input · output), none of it sequential.
    Source: Bai et al. 2018, arXiv:1803.01271, equation 2, for many channels; zero padding as in its
    section 3.2. Differs: a bias.

    Args:
        input_size: features of one input, > 0.
        output_size: features of one output, > 0.
        width: taps, > 0.
        dilation: d, the steps between two taps, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size, a width or a dilation that is not a whole number of at least 1.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.CausalConv(3, 5, width=2, dilation=4, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, None, jax.numpy.ones((7, 3)))
        >>> state.shape, ys.shape
        ((5, 3), (7, 5))
    """

    W: Float[Array, "width output input"]
    b: Float[Array, " output"]
    dilation: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        width: int,
        dilation: int = 1,
        key: PRNGKeyArray,
    ):
        check_sizes(
            "CausalConv",
            input_size=input_size,
            output_size=output_size,
            width=width,
            dilation=dilation,
        )
        W = lecun_normal(key, (output_size, width * input_size))
        self.W = W.reshape(output_size, width, input_size).swapaxes(0, 1)
        self.b = jnp.zeros(output_size)
        self.dilation = dilation

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        width, _, input_size = self.W.shape[-3:]
        return jnp.zeros((self.dilation * (width - 1) + 1, input_size), state_dtype(self.W))

    def project(self, x):
        return x, None

    def readout(self, window, u):
        taps = window[:: -self.dilation]
        return jnp.einsum("koi,ki->o", self.W, taps) + self.b

    def readout_sequence(self, history, u):
        if history.steps_since_reset is None:
            return dilated_convolution(history.entries[1:], self.W, self.dilation) + self.b
        taps = jnp.stack([history.shifted(self.dilation * j) for j in range(len(self.W))])
        return jnp.einsum("kti,koi->to", taps, self.W) + self.b


def dilated_convolution(
    x: Float[Array, "all input"], W: Float[Array, "width output input"], dilation: int
) -> Float[Array, "time output"]:
    """Σ_j W_j x_{t − d j} at every t where all taps are within x."""
    return jax.lax.conv_general_dilated(
        x[None],
        W[::-1].mT,
        window_strides=(1,),
        padding="VALID",
        rhs_dilation=(dilation,),
        dimension_numbers=("NWC", "WIO", "NWC"),
    )[0]
