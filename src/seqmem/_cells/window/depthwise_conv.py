import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import lecun_normal
from .family import AbstractWindowCell


class DepthwiseConv(AbstractWindowCell):
    """Depthwise causal convolution: one short filter per channel, as before many recurrent layers.

        y_t = Σ_j w_j ∘ x_{t − j} + b        j = 0, ..., width − 1

    Before the first input, and before a reset, all inputs are 0.

    Shapes: x and y (size,), state (width, size), the oldest input first. Cost per step:
    O(width · size), none of it sequential.
    Source: De et al. 2024 (Griffin), arXiv:2402.19427, section 2.3 (width 4), after the shift of
    H3, arXiv:2212.14052. Differs: none.

    Args:
        size: channels: features of one input and of one output, > 0.
        width: taps, > 0; 4 is usual.
        bias: whether to add b.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size or a width that is not a whole number of at least 1.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.DepthwiseConv(5, width=4, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(cell, None, jax.numpy.ones((7, 5)))
        >>> state.shape, ys.shape
        ((4, 5), (7, 5))
    """

    w: Float[Array, "width size"]
    b: Float[Array, " size"] | None

    def __init__(self, size: int, *, width: int, bias: bool = True, key: PRNGKeyArray):
        check_sizes("DepthwiseConv", size=size, width=width)
        self.w = lecun_normal(key, (size, width)).T
        self.b = jnp.zeros(size) if bias else None

    @property
    def input_shape(self):
        return self.w.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.w.shape[-2:], state_dtype(self.w))

    def project(self, x):
        return x, None

    def readout(self, window, u):
        y = (self.w * window[::-1]).sum(0)
        return y if self.b is None else y + self.b

    def readout_sequence(self, history, u):
        start = 0 if self.b is None else self.b
        return sum((w * history.shifted(j) for j, w in enumerate(self.w)), start)
