"""The block of gated slot attention: the cell with its activation, norm and projection."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import silu
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.fast_weights.family import AbstractFastWeightCell
from .._cells.fast_weights.gsa import GSA, SlotValues
from .._cells.initialisers import lecun_normal
from .._cells.normalisation import rms_norm
from .._core.calls import makes_layer
from ..layers.stack import Stack


class GSACore(AbstractFastWeightCell):
    """The second layer of `gsa_block`, which has its equations."""

    values: SlotValues
    scale: Float[Array, " hidden"]
    W_o: Float[Array, "output hidden"]
    eps: float = eqx.field(static=True)

    @property
    def input_shape(self):
        return self.values.input_shape

    def init_state(self):
        return self.values.init_state()

    def project(self, x):
        return self.values.project(x)

    def output(self, reading, extra):
        return (self.scale * rms_norm(silu(reading.ravel()), self.eps)) @ self.W_o.mT


@makes_layer
def gsa_block(
    input_size: int,
    hidden_size: int,
    *,
    num_heads: int,
    key_size: int | None = None,
    num_slots: int = 64,
    eps: float = 1e-5,
    key: PRNGKeyArray,
) -> Stack:
    """The block of gated slot attention: `seqmem.GSA` with its activation, norm and projection.

        h_t = V_tᵀ softmax(K_t q_t)            of each head, as in `seqmem.GSA`
        y_t = W_o (scale ∘ rms_norm(SiLU(h_t)))         normed over all heads

    The block is a cell of two layers: it can be stepped.

    Shapes: x and y (input,), h and scale (hidden,), and those of `seqmem.GSA`, with hidden = heads
    · value. Cost per step: that of `seqmem.GSA`, and O(input · hidden) for the projection, none of
    it sequential.
    Source: Zhang et al. 2024, arXiv:2409.07146, as `GatedSlotAttention` in flash-linear-attention
    at commit bc3b101, whose weights `seqmem.interop.from_fla_gsa` reads. Differs: the initial
    parameters are those of `seqmem.GSA`.

    Args:
        input_size: features of one input and of one output, > 0.
        hidden_size: features of the values of all heads, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        key_size: features of the key of one head, > 0; None: as of its value.
        num_slots: number of slots of one head, > 0.
        eps: ε of the norm, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, or a size is below 1.

    Example:
        >>> import jax, seqmem
        >>> block = seqmem.blocks.gsa_block(5, 6, num_heads=2, num_slots=7, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(block, None, jax.numpy.ones((11, 5)))
        >>> ys.shape
        (11, 5)
    """
    cell_key, output_key = jax.random.split(key)
    sizes = {"num_heads": num_heads, "key_size": key_size, "num_slots": num_slots}
    keys, values = GSA(input_size, hidden_size, **sizes, key=cell_key).layers
    core = GSACore(
        values=values,
        scale=jnp.ones(hidden_size),
        W_o=lecun_normal(output_key, (input_size, hidden_size)),
        eps=eps,
    )
    return Stack([keys, core])
