"""The recurrent block of Griffin, Hawk and RecurrentGemma: a short convolution and an RG-LRU with
block-diagonal gates, next to a gate.
"""

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import gelu, log_sigmoid, sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.diagonal.family import AbstractDiagonalCell
from .._cells.diagonal.rg_lru import C, decay_parameter, root
from .._cells.initialisers import lecun_normal
from .._cells.window.depthwise_conv import DepthwiseConv
from .._cells.window.family import AbstractWindowCell
from .._core.calls import makes_layer
from .._core.precision import state_dtype
from .._core.validation import check_count, check_heads, check_sizes
from ..layers.stack import Stack


class ConvEntry(NamedTuple):
    """The entry of one step in the window of a `GriffinConv`. `valid` is 1; 0 before the first
    step.
    """

    value: Float[Array, "*steps hidden"]
    valid: Float[Array, "*steps"]


class GriffinConv(AbstractWindowCell):
    """The first layer of `griffin_block`, which has its equations: c_t, g_t, and whether step t is
    the first one, 1 or 0.
    """

    W_x: Float[Array, "hidden input"]
    b_x: Float[Array, " hidden"]
    W_g: Float[Array, "hidden input"]
    b_g: Float[Array, " hidden"]
    conv: DepthwiseConv

    @property
    def input_shape(self):
        return (self.W_x.shape[-1],)

    def init_state(self):
        value = self.conv.init_state()
        return ConvEntry(value, jnp.zeros(len(value), value.dtype))

    def project(self, x):
        value = x @ self.W_x.mT + self.b_x
        return ConvEntry(value, jnp.ones((), value.dtype)), gelu(x @ self.W_g.mT + self.b_g)

    def readout(self, window, u):
        return self.conv.readout(window.value, u), u[1], 1 - window.valid[-2]

    def readout_sequence(self, history, u):
        values = history._replace(entries=history.entries.value, init=history.init.value)
        return self.conv.readout_sequence(values, u), u[1], 1 - history.shifted(1).valid


class GriffinCore(AbstractDiagonalCell):
    """The second layer of `griffin_block`, which has its equations.

    Shapes: x is ((hidden,), (hidden,), ()): c, g, and 1 at the first step.
    """

    input_shape: ClassVar[Any] = ((None,), (None,), ())

    Lambda: Float[Array, " hidden"]
    W: Float[Array, "2 heads block block"]
    b: Float[Array, "2 hidden"]
    W_o: Float[Array, "output hidden"]
    b_o: Float[Array, " output"]

    def init_state(self):
        return jnp.zeros(self.b.shape[-1], state_dtype(self.b))

    def project(self, x):
        c, g, first = x
        by_head = c.reshape(self.W.shape[1], -1)
        gates = jnp.einsum("hi,ghoi->gho", by_head, self.W).reshape(2, -1) + self.b
        return gates, c, g, first

    def update(self, h, u):
        (r, i), c, _, first = u
        log_a = C * sigmoid(r) * log_sigmoid(self.Lambda)
        gain = jnp.where(first > 0, 1, root(-jnp.expm1(2 * log_a)))
        return jnp.exp(log_a) * h + gain * sigmoid(i) * c

    def readout(self, h, u):
        _, _, g, _ = u
        return (h * g) @ self.W_o.mT + self.b_o


@makes_layer
def griffin_block(
    input_size: int,
    hidden_size: int,
    *,
    num_heads: int,
    width: int = 4,
    key: PRNGKeyArray,
) -> Stack:
    """The recurrent block of Griffin, Hawk and RecurrentGemma: an RG-LRU after a short convolution.

        c_t = Σ_j w_j ∘ (W_x x_{t−j} + b_x) + b                        j = 0, ..., width − 1
        g_t = GELU(W_g x_t + b_g)
        r_t = σ(W_r c_t + b_r),  i_t = σ(W_i c_t + b_i)                block-diagonal: head by head
        a_t = a^(8 r_t)                                                a = σ(Λ)
        h_t = a_t ∘ h_{t−1} + √(1 − a_t²) ∘ (i_t ∘ c_t)                at the first step 1 for √
        y_t = W_o (h_t ∘ g_t) + b_o

    The first step is that of a sequence: it follows the initial state, or a reset. GELU is its
    approximation by tanh. The block is a cell of two layers: it can be stepped.

    Shapes: x and y (input,), c, g, r, i, a and h (hidden,), W_r and W_i (heads, hidden/heads,
    hidden/heads); the state is the last `width` values of W_x x + b_x with flags of valid ones, and
    h. Cost per step: O(hidden · (input + hidden/heads)), of which O(hidden) is sequential.
    Source: De et al. 2024 (Griffin), arXiv:2402.19427, sections 2.3 and 2.4;
    `RecurrentGemmaRecurrentBlock` of Hugging Face transformers 5.24.0, whose rule for the first
    step it has, as recurrentgemma has it. Differs: at the start all matrices are drawn with a
    variance of 1 over their inputs; biases are 0; the decays are those of `seqmem.RGLRU`.

    Args:
        input_size: features of one input and of one output, > 0.
        hidden_size: features of the state, a multiple of `num_heads`.
        num_heads: blocks of the gates' matrices, > 0.
        width: taps of the convolution, > 1.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, or a size is too small.

    Example:
        >>> import jax, seqmem
        >>> block = seqmem.blocks.griffin_block(5, 12, num_heads=3, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(block, None, jax.numpy.ones((11, 5)))
        >>> ys.shape
        (11, 5)
    """
    check_heads("griffin_block", hidden_size, num_heads)
    check_sizes("griffin_block", input_size=input_size)
    check_count("griffin_block", "width", width, at_least=2, remedy="choose 2 taps or more.")
    keys = jax.random.split(key, 5)
    W_x, W_g = lecun_normal(keys[0], (2, hidden_size, input_size))
    block_size = hidden_size // num_heads
    conv = GriffinConv(
        W_x=W_x,
        b_x=jnp.zeros(hidden_size),
        W_g=W_g,
        b_g=jnp.zeros(hidden_size),
        conv=DepthwiseConv(hidden_size, width=width, key=keys[1]),
    )
    core = GriffinCore(
        Lambda=decay_parameter(keys[2], hidden_size),
        W=lecun_normal(keys[3], (2, num_heads, block_size, block_size)),
        b=jnp.zeros((2, hidden_size)),
        W_o=lecun_normal(keys[4], (input_size, hidden_size)),
        b_o=jnp.zeros(input_size),
    )
    return Stack([conv, core])
