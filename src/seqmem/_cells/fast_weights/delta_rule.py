import equinox as eqx
import jax
from jax.nn import sigmoid, silu
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.errors import bad_input
from ..initialisers import lecun_normal
from .family import AbstractFastWeightCell
from .heads import check_heads, empty_memory, per_head, unit
from .write import Write


class DeltaRule(AbstractFastWeightCell):
    """The delta rule: what the memory has stored under a key is replaced, not added to.

        q_t = unit(SiLU(W_q x_t)),  k_t = unit(SiLU(W_k x_t)),  v_t = SiLU(W_v x_t)     of each head
        β_t = beta_max · σ(W_β x_t)
        S_t = S_{t−1} (I − β_t k_t k_tᵀ) + β_t v_t k_tᵀ,    y_t = S_t q_t

    With a beta_max of 2 the transition has eigenvalues down to −1: two steps can rotate, and count.

    Shapes: x (input,), S (heads, size/heads, size/heads), β (heads,), y (size,). Cost per step:
    O(input · size) and O(size² / heads), of which the latter is done in blocks.
    Source: Yang et al. 2024, arXiv:2406.06484, section 2.2, with SiLU and unit as in their code,
    flash-linear-attention; the beta_max of 2 is that of Grazzi et al. 2024, arXiv:2411.12537.
    Differs: short convolutions before SiLU, and the norm behind, stand in a block around the cell.

    Args:
        input_size: entries of one input, > 0.
        size: entries of the output, shared evenly by the heads.
        heads: > 0.
        beta_max: the largest β, in (0, 2].
        key: for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the size, or the beta_max is out of range.
    """

    W_q: Float[Array, "size input"]
    W_k: Float[Array, "size input"]
    W_v: Float[Array, "size input"]
    W_beta: Float[Array, "heads input"]
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    heads: int = eqx.field(static=True)
    beta_max: float = eqx.field(static=True)

    def __init__(
        self, input_size: int, size: int, heads: int, *, beta_max: float = 1.0, key: PRNGKeyArray
    ):
        check_heads("DeltaRule", size, heads)
        check_beta_max("DeltaRule", beta_max)
        wide, narrow = jax.random.split(key)
        self.W_q, self.W_k, self.W_v = lecun_normal(wide, (3, size, input_size))
        self.W_beta = lecun_normal(narrow, (heads, input_size))
        self.input_shape = (input_size,)
        self.heads = heads
        self.beta_max = beta_max

    def init_state(self):
        size = self.W_v.shape[0] // self.heads
        return empty_memory(self.heads, size, size, self.W_v)

    def project(self, x):
        q, k, v = (per_head(silu(x @ W.mT), self.heads) for W in (self.W_q, self.W_k, self.W_v))
        beta = self.beta_max * sigmoid(x @ self.W_beta.mT)[:, None]
        k = unit(k)
        return Write(unit(q), k, beta * v, remove=beta * k), None

    def output(self, reading, extra):
        return reading.ravel()


def check_beta_max(name: str, beta_max: float) -> None:
    """Refuse a β under which the memory would grow.

    Raises:
        ValueError: where it is not in (0, 2].
    """
    if not 0 < beta_max <= 2:
        raise bad_input(
            f"{name}(beta_max={beta_max}).",
            "more than 0 and at most 2: beyond, I − β k kᵀ has an eigenvalue below −1.",
            "leave it out for 1, or write 2 for a memory that can rotate.",
        )
