import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.errors import bad_input
from ..._core.precision import state_dtype
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
        input_size: entries of one input, > 0.
        output_size: entries of one output, > 0.
        width: taps, > 0.
        dilation: d, the steps between two taps, > 0.
        key: for the initial parameters.

    Raises:
        ValueError: for a width or a dilation below 1.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.CausalConv(3, 5, 2, dilation=4, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, cell.init_state(), jax.numpy.ones((7, 3)))
        >>> state.shape, ys.shape
        ((5, 3), (7, 5))
    """

    W: Float[Array, "width output input"]
    b: Float[Array, " output"]
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    dilation: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        output_size: int,
        width: int,
        *,
        dilation: int = 1,
        key: PRNGKeyArray,
    ):
        if width < 1 or dilation < 1:
            raise bad_input(
                f"CausalConv got width={width} and dilation={dilation}.",
                "at least one tap, and at least one step from one to the next.",
                "leave the dilation out for neighbouring inputs; width=1 looks at x_t alone.",
            )
        W = lecun_normal(key, (output_size, width * input_size))
        self.W = W.reshape(output_size, width, input_size).swapaxes(0, 1)
        self.b = jnp.zeros(output_size)
        self.input_shape = (input_size,)
        self.dilation = dilation

    def init_state(self):
        size = self.dilation * (len(self.W) - 1) + 1
        return jnp.zeros((size, self.input_shape[0]), state_dtype(self.W))

    def project(self, x):
        return x, None

    def readout(self, window, u):
        taps = window[:: -self.dilation]
        return jnp.einsum("koi,ki->o", self.W, taps) + self.b

    def readout_sequence(self, history, u):
        if history.steps_since_reset is None:
            return convolved(history.entries[1:], self.W, self.dilation) + self.b
        taps = jnp.stack([history.shifted(self.dilation * j) for j in range(len(self.W))])
        return jnp.einsum("kti,koi->to", taps, self.W) + self.b


def convolved(
    x: Float[Array, "all input"], W: Float[Array, "width output input"], dilation: int
) -> Float[Array, "time output"]:
    """Σ_j W_j x_{t − d j} for every t that has all its taps."""
    return jax.lax.conv_general_dilated(
        x[None],
        W[::-1].mT,
        window_strides=(1,),
        padding="VALID",
        rhs_dilation=(dilation,),
        dimension_numbers=("NWC", "WIO", "NWC"),
    )[0]
