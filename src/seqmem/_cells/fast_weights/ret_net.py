import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..initialisers import lecun_normal
from .family import AbstractFastWeightCell
from .heads import check_heads, empty_memory, per_head
from .write import Write


class RetNet(AbstractFastWeightCell):
    """Retention: linear attention without a normaliser, that fades at a fixed rate per head.

        q_t = W_q x_t,  k_t = W_k x_t / √d,  v_t = W_v x_t             of each head, d its size
        S_t = γ S_{t−1} + v_t k_tᵀ,    γ_h = 1 − 2^(−5−h),  h = 0, ..., heads − 1
        y_t = S_t q_t

    Shapes: x (input,), S (heads, size/heads, size/heads), y (size,). Cost per step: O(input · size)
    and O(size² / heads), of which the latter is done in blocks.
    Source: Sun et al. 2023, arXiv:2307.08621, equations 6 and 8. Differs: queries and keys are not
    rotated, which needs a position; of the three normalisations of section 2.2, which the group
    norm makes invisible, there is the √d alone; the group norm and the gate of equation 8 stand in
    a block around the cell.

    Args:
        input_size: entries of one input, > 0.
        size: entries of the output, shared evenly by the heads.
        heads: > 0.
        key: for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the size.
    """

    W_q: Float[Array, "size input"]
    W_k: Float[Array, "size input"]
    W_v: Float[Array, "size input"]
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    heads: int = eqx.field(static=True)

    def __init__(self, input_size: int, size: int, heads: int, *, key: PRNGKeyArray):
        check_heads("RetNet", size, heads)
        self.W_q, self.W_k, self.W_v = lecun_normal(key, (3, size, input_size))
        self.input_shape = (input_size,)
        self.heads = heads

    def init_state(self):
        size = self.W_v.shape[0] // self.heads
        return empty_memory(self.heads, size, size, self.W_v)

    def project(self, x):
        q, k, v = (per_head(x @ W.mT, self.heads) for W in (self.W_q, self.W_k, self.W_v))
        fading = np.log1p(-(2.0 ** (-5 - np.arange(self.heads))))
        log_decay = jnp.asarray(fading[:, None], q.dtype)
        return Write(q, k / math.sqrt(k.shape[-1]), v, log_decay), None

    def output(self, reading, extra):
        return reading.ravel()
