"""The time mixing of RWKV-7 above the first layer of a model."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import PRNGKeyArray

from .._cells.fast_weights.family import AbstractFastWeightCell
from .._cells.initialisers import lecun_normal
from ..layers.stack import Stack
from .rwkv7 import LowRank, RWKV7Core, shift_and_core
from .token_shift import Mixed, ShiftBeside


class RWKV7CoreAbove(AbstractFastWeightCell):
    """The second layer of `rwkv7_upper_block`, which has its equations."""

    input_shape: ClassVar[Any] = (Mixed._make([(None,)] * 6), (None,))

    core: RWKV7Core
    nu: LowRank

    def init_state(self):
        return self.core.init_state()

    def project(self, x):
        x, first = x
        v = x.v @ self.core.W_v.mT
        v = v + (first - v) * sigmoid(self.nu(x.v))
        return self.core.drive(x, v, first)

    def output(self, reading, extra):
        return self.core.output(reading, extra)


def rwkv7_upper_block(
    input_size: int,
    heads: int,
    *,
    rank: int = 32,
    eps: float | None = None,
    key: PRNGKeyArray,
) -> Stack:
    """The time mixing of RWKV-7 above the first layer, whose values v¹ are mixed into its own.

        ν_t = σ(W_ν V_ν x^v_t + b_ν)
        v_t = (1 − ν_t) ∘ W_v x^v_t + ν_t ∘ v¹_t

    and all else as in `rwkv7`. Its input is (x_t, v¹_t), and it shows (y_t, v¹_t).

    Source: as of `rwkv7`. Differs: as there; b_ν is 0.73 at the start, where it varies with the
    channel around it there, and W_ν is 0.

    Args:
        input_size: entries of one input and of one output, shared evenly by the heads.
        heads: > 0.
        rank: of the matrices that make w, a, g and ν, > 0.
        eps: of the norm, > 0; None is 10⁻⁵ times the size of a head.
        key: for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the input, or a size is below 1.
    """
    own, mix = jax.random.split(key)
    shift, core = shift_and_core("rwkv7_upper_block", input_size, heads, rank, eps, own)
    V, W = lecun_normal(mix, (rank, input_size)), jnp.zeros((input_size, rank))
    nu = LowRank(V, W, jnp.full(input_size, 0.73))
    return Stack([ShiftBeside(shift), RWKV7CoreAbove(core, nu)])
