"""The block of Mamba-3: its memory with a gate and the output projection."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.nn import silu
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.fast_weights.family import AbstractFastWeightCell
from .._cells.fast_weights.mamba3 import Mamba3Memory
from .._cells.fast_weights.mamba3_steps import Mamba3Rotation, Mamba3Steps, mamba3_sizes
from .._cells.initialisers import lecun_normal
from .._core.calls import makes_layer
from ..layers.stack import Stack


class Mamba3Core(AbstractFastWeightCell):
    """The third layer of `mamba3_block`, which has its equations."""

    input_shape: ClassVar[Any] = Mamba3Memory.input_shape

    memory: Mamba3Memory
    W_z: Float[Array, "hidden input"]
    gate: Float[Array, "heads rank value"] | None
    W_o: Float[Array, "output hidden"]

    def init_state(self):
        return self.memory.init_state()

    def project(self, x):
        write, extra = self.memory.project(x)
        z = (x.x @ self.W_z.mT).reshape(len(self.memory.D), 1, -1)
        return write, (extra, z if self.gate is None else self.gate * z)

    def output(self, reading, extra):
        extra, z = extra
        return self.memory.merged((reading + extra) * silu(z)).ravel() @ self.W_o.mT


@makes_layer
def mamba3_block(
    input_size: int,
    hidden_size: int,
    *,
    num_heads: int,
    key_size: int | None = None,
    num_groups: int = 1,
    rank: int = 1,
    num_angles: int | None = None,
    eps: float = 1e-5,
    key: PRNGKeyArray,
) -> Stack:
    """The block of Mamba-3: `seqmem.Mamba3` with a gate and an output projection.

        S_t, q_tr, v_tr, D and d_r as in `seqmem.Mamba3`
        y_t = W_o Σ_r d_r ∘ (S_t q_tr + D v_tr) ∘ SiLU(u'_r ∘ W_z x_t)

    With rank 1, u' is 1 too. There is no short convolution, and no norm before the output. The
    block is a cell of three layers: it can be stepped.

    Shapes: x and y (input,), W_z x_t (heads, value), u' (heads, rank, value), all others as in
    `seqmem.Mamba3`. Cost per step: O(input · (hidden + groups · rank · key)) for the projections,
    none of it sequential, and O(hidden · key · rank) for the memory, sequential from chunk to chunk
    only.
    Source: Lahoti et al. 2026, arXiv:2603.15569, in the form of the authors' code,
    state-spaces/mamba at commit 7438488 (`Mamba3` with its defaults, and `is_mimo` for ranks above
    1). Differs: as `seqmem.Mamba3` does; without the norm of `is_outproj_norm`. Initial parameters
    are the authors', but for the matrices, which are normal.

    Args:
        input_size: features of one input and of one output, > 0.
        hidden_size: features of v, a multiple of `num_heads`; in the paper twice the input's.
        num_heads: number of heads, > 0.
        key_size: features of B and C of one group, > 1; None: as of the value of one head.
        num_groups: number of groups of heads that share W_B and W_C, a divisor of `num_heads`.
        rank: writes and reads per step, > 0; in the paper's MIMO models 4.
        num_angles: rotated pairs of channels, > 0 and at most half of `key_size`; None: a quarter
            of `key_size`, so that half of the channels rotate.
        eps: ε of the norms, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, the groups do not divide the
            heads, the key has fewer than two channels for an angle, or a size is below 1.

    Example:
        >>> import jax, seqmem
        >>> block = seqmem.blocks.mamba3_block(5, 8, num_heads=2, rank=3, key=jax.random.key(0))
        >>> state, ys = seqmem.unroll(block, None, jax.numpy.ones((11, 5)))
        >>> ys.shape
        (11, 5)
    """
    options = {"key_size": key_size, "num_groups": num_groups, "rank": rank}
    options["num_angles"] = num_angles
    sizes = mamba3_sizes("mamba3_block", input_size, hidden_size, num_heads, **options)
    keys = jax.random.split(key, 4)
    core = Mamba3Core(
        memory=Mamba3Memory(sizes),
        W_z=lecun_normal(keys[2], (hidden_size, input_size)),
        gate=None if rank == 1 else jnp.ones(sizes.per_rank),
        W_o=lecun_normal(keys[3], (input_size, hidden_size)),
    )
    rotation = Mamba3Rotation(sizes, key=keys[0])
    return Stack([rotation, Mamba3Steps(sizes, eps, key=keys[1]), core])
