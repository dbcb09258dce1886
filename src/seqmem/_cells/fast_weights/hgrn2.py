import equinox as eqx
import jax.numpy as jnp
from jax.nn import log_sigmoid, sigmoid, silu
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.errors import bad_input
from ..initialisers import lecun_normal
from .family import AbstractFastWeightCell
from .heads import check_heads, empty_memory, per_head
from .write import Write


class HGRN2(AbstractFastWeightCell):
    """Gated linear recurrent unit with an expanded state: what a forget gate lets go is the key.

        f_t = λ + (1 − λ) σ(W_f x_t),  i_t = SiLU(W_i x_t),  o_t = σ(W_o x_t)           of each head
        S_t = S_{t−1} diag(f_t) + i_t (1 − f_t)ᵀ,    y_t = S_t o_t

    Shapes: x (input,), f and o (heads, size/heads), S (heads, size/heads, size/heads), y (size,).
    Cost per step: O(input · size) and O(size² / heads), of which the latter is done in blocks.
    Source: Qin et al. 2024, arXiv:2404.07904; SiLU and σ as in the authors' hgru2-pytorch
    (flash-linear-attention has i_t = W_i x_t and o_t = SiLU(W_o x_t)). Differs: no biases; λ, which
    that model learns for all layers together, growing from layer to layer, is an argument; the norm
    and the projection behind stand in a block around the cell.

    Args:
        input_size: entries of one input, > 0.
        size: entries of the output, shared evenly by the heads.
        heads: > 0.
        lower_bound: λ, in [0, 1): the least that is kept.
        key: for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the size, or λ is out of range.
    """

    W_f: Float[Array, "size input"]
    W_i: Float[Array, "size input"]
    W_o: Float[Array, "size input"]
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    heads: int = eqx.field(static=True)
    lower_bound: float = eqx.field(static=True)

    def __init__(
        self, input_size: int, size: int, heads: int, *, lower_bound: float = 0.0, key: PRNGKeyArray
    ):
        check_heads("HGRN2", size, heads)
        if not 0 <= lower_bound < 1:
            raise bad_input(
                f"HGRN2(lower_bound={lower_bound}).",
                "at least 0 and less than 1.",
                "leave it out for 0; layers higher up keep more.",
            )
        self.W_f, self.W_i, self.W_o = lecun_normal(key, (3, size, input_size))
        self.input_shape = (input_size,)
        self.heads = heads
        self.lower_bound = lower_bound

    def init_state(self):
        size = self.W_i.shape[0] // self.heads
        return empty_memory(self.heads, size, size, self.W_i)

    def project(self, x):
        f, i, o = (per_head(x @ W.mT, self.heads) for W in (self.W_f, self.W_i, self.W_o))
        if self.lower_bound:
            log_f = jnp.log(self.lower_bound + (1 - self.lower_bound) * sigmoid(f))
        else:
            log_f = log_sigmoid(f)
        return Write(sigmoid(o), -jnp.expm1(log_f), silu(i), log_f), None

    def output(self, reading, extra):
        return reading.ravel()
