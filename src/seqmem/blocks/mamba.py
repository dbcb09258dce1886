"""The blocks of Mamba and of Falcon Mamba: a short convolution, and a selective state space with
its gate.
"""

import equinox as eqx
import jax
from jax.nn import silu, softplus
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.diagonal.family import AbstractDiagonalCell
from .._cells.diagonal.s6 import S6
from .._cells.initialisers import lecun_normal
from .._cells.normalisation import rms_norm
from .._core.calls import makes_layer
from .._core.precision import as_precision, precision, state_dtype
from .._core.validation import check_positive, check_sizes
from ..layers.stack import Stack
from .short_conv import ShortConv


class NormedS6(AbstractDiagonalCell):
    """`seqmem.S6` with a norm on each of V_Δ x_t, B_t and C_t; `falcon_mamba_block` has its
    equations.
    """

    s6: S6
    eps: float = eqx.field(static=True)

    @property
    def input_shape(self):
        return self.s6.input_shape

    def init_state(self):
        return self.s6.init_state()

    def project(self, x):
        s6 = self.s6
        low, B, C = (self._norm(x @ W.mT) for W in (s6.V_delta, s6.W_B, s6.W_C))
        return softplus(low @ s6.W_delta.mT + s6.b), x, B, C

    def _norm(self, x: Array) -> Array:
        wide = as_precision(x, state_dtype(x))
        return as_precision(rms_norm(wide, self.eps), precision(x))

    def update(self, s, u):
        return self.s6.update(s, u)

    def readout(self, s, u):
        return self.s6.readout(s, u)


class MambaCore(AbstractDiagonalCell):
    """The second layer of `mamba_block` and `falcon_mamba_block`, which have its equations.

    Shapes: x is ((hidden,), (hidden,)): the filtered v and the unfiltered z. s (hidden, state).
    """

    cell: S6 | NormedS6
    W_o: Float[Array, "output hidden"]

    @property
    def input_shape(self):
        return self.cell.input_shape, self.cell.input_shape

    def init_state(self):
        return self.cell.init_state()

    def project(self, x):
        v, z = x
        return self.cell.project(v), z

    def update(self, s, u):
        return self.cell.update(s, u[0])

    def readout(self, s, u):
        drive, z = u
        return (as_precision(self.cell.readout(s, drive), precision(z)) * silu(z)) @ self.W_o.mT


@makes_layer
def mamba_block(
    input_size: int,
    hidden_size: int,
    *,
    state_size: int = 16,
    rank: int | None = None,
    width: int = 4,
    key: PRNGKeyArray,
) -> Stack:
    """The block of Mamba: a selective state space after a short convolution.

        v_t = SiLU(conv(W x)_t),    z_t = U x_t
        Δ_t = softplus(W_Δ V_Δ v_t + b),  B_t = W_B v_t,  C_t = W_C v_t
        s_t = exp(−exp(A_log) ∘ Δ_t) ∘ s_{t−1} + (Δ_t ∘ v_t) B_tᵀ            Δ_t of each row
        y_t = W_o ((s_t C_t + D ∘ v_t) ∘ SiLU(z_t))

    The block is a cell of two layers: it can be stepped.

    Shapes: x and y (input,), v, z, Δ and D (hidden,), B and C (state,), s (hidden, state). Cost per
    step: O(hidden · (input + state + rank)), of which O(hidden · state) is sequential.
    Source: Gu & Dao 2023, arXiv:2312.00752, figure 3 and algorithm 2; `MambaMixer` of Hugging Face
    transformers 5.24.0. Differs: what `seqmem.S6` says.

    Args:
        input_size: features of one input and of one output, > 0.
        hidden_size: features of v; in the paper twice the input's.
        state_size: features of the state of one channel, > 0.
        rank: rank of W_Δ V_Δ, > 0; None is input_size / 16, rounded up.
        width: taps of the convolution, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size below 1.

    Example:
        >>> import jax, seqmem
        >>> block = seqmem.blocks.mamba_block(5, 10, state_size=3, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(block, None, jax.numpy.ones((11, 5)))
        >>> ys.shape
        (11, 5)
    """
    sizes = {"input_size": input_size, "hidden_size": hidden_size, "state_size": state_size}
    check_sizes("mamba_block", **sizes)
    keys = jax.random.split(key, 3)
    rank = -(-input_size // 16) if rank is None else rank
    conv = ShortConv(input_size, hidden_size, hidden_size, width=width, bias=True, key=keys[0])
    cell = S6(hidden_size, state_size, rank=rank, key=keys[1])
    return Stack([conv, MambaCore(cell, lecun_normal(keys[2], (input_size, hidden_size)))])


@makes_layer
def falcon_mamba_block(
    input_size: int,
    hidden_size: int,
    *,
    state_size: int = 16,
    rank: int | None = None,
    width: int = 4,
    eps: float = 1e-6,
    key: PRNGKeyArray,
) -> Stack:
    """The block of Falcon Mamba: `mamba_block` with three norms without gains.

        Δ_t = softplus(W_Δ rms_norm(V_Δ v_t) + b)
        B_t = rms_norm(W_B v_t),  C_t = rms_norm(W_C v_t)

    Source: Zuo et al. 2024, arXiv:2410.05355 (not read); `FalconMambaMixer` of Hugging Face
    transformers 5.24.0.

    Args:
        input_size: features of one input and of one output, > 0.
        hidden_size: features of v.
        state_size: features of the state of one channel, > 0.
        rank: rank of W_Δ V_Δ, > 0; None is input_size / 16, rounded up.
        width: taps of the convolution, > 0.
        eps: ε of the norms, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size below 1, or an ε of at most 0.
    """
    check_positive("falcon_mamba_block", "eps", eps, remedy="pass one such as 1e-6.")
    block = mamba_block(
        input_size, hidden_size, state_size=state_size, rank=rank, width=width, key=key
    )
    conv, core = block.layers
    return Stack([conv, MambaCore(NormedS6(core.cell, eps), core.W_o)])
