import equinox as eqx
import jax.numpy as jnp
from jax.nn import log_sigmoid, sigmoid, silu
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.errors import bad_input
from ..._core.validation import check_heads, check_sizes
from ..initialisers import lecun_normal
from .family import AbstractFastWeightCell
from .heads import empty_memory, per_head
from .write import Write


class HGRN2(AbstractFastWeightCell):
    """Gated linear recurrent unit with an expanded state: the key is 1 minus the forget gate.

        f_t = λ + (1 − λ) σ(W_f x_t),  i_t = SiLU(W_i x_t),  o_t = σ(W_o x_t)           of each head
        S_t = S_{t−1} diag(f_t) + i_t (1 − f_t)ᵀ,    y_t = S_t o_t

    Shapes: x (input,), f, i and o (heads, size), S (heads, size, size), y (hidden,) with hidden =
    heads · size. Cost per step: O(input · hidden) for the projections, none of it sequential, and
    O(hidden · size) for the memory, sequential from chunk to chunk only.
    Source: Qin et al. 2024, arXiv:2404.07904; SiLU and σ as in the authors' hgru2-pytorch
    (flash-linear-attention has i_t = W_i x_t and o_t = SiLU(W_o x_t)). Differs: no biases; λ, which
    the paper learns for all layers at once, increasing from layer to layer, is an argument; the
    norm and the output projection are left to the network around the cell.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of one output, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        lower_bound: λ, the smallest forget gate, in [0, 1).
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, or λ is out of range.
    """

    W_f: Float[Array, "hidden input"]
    W_i: Float[Array, "hidden input"]
    W_o: Float[Array, "hidden input"]
    num_heads: int = eqx.field(static=True)
    lower_bound: float = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int,
        lower_bound: float = 0.0,
        key: PRNGKeyArray,
    ):
        check_sizes("HGRN2", input_size=input_size)
        check_heads("HGRN2", hidden_size, num_heads)
        if not 0 <= lower_bound < 1:
            raise bad_input(
                f"HGRN2 got lower_bound={lower_bound}.",
                "at least 0 and less than 1.",
                "leave it out for 0; higher layers of a model have a larger one.",
            )
        self.W_f, self.W_i, self.W_o = lecun_normal(key, (3, hidden_size, input_size))
        self.num_heads = num_heads
        self.lower_bound = lower_bound

    @property
    def input_shape(self):
        return self.W_f.shape[-1:]

    def init_state(self):
        size = len(self.W_i) // self.num_heads
        return empty_memory(self.num_heads, size, size, self.W_i)

    def project(self, x):
        f, i, o = (per_head(x @ W.mT, self.num_heads) for W in (self.W_f, self.W_i, self.W_o))
        if self.lower_bound:
            log_f = jnp.log(self.lower_bound + (1 - self.lower_bound) * sigmoid(f))
        else:
            log_f = log_sigmoid(f)
        return Write(sigmoid(o), -jnp.expm1(log_f), silu(i), log_f), None

    def output(self, reading, extra):
        return reading.ravel()
