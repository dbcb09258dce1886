from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..._methods.series import AbstractSeries
from .family import AbstractFastWeightCell
from .mamba3_steps import Mamba3Rotation, Mamba3Sizes, Mamba3Steps, Step, StepPair, mamba3_sizes
from .write import Memory, Write, matmul


class Mamba3(AbstractSeries):
    """Mamba-3: a state space model discretised by a trapezoidal rule, whose states rotate, and
    which may write and read several times per step.

        Δ_t = softplus(W_Δ x_t + b),    λ_t = σ(W_λ x_t)                               of each head
        ln α_t = −Δ_t max(softplus(W_A x_t), 10⁻⁴)                                      of each head
        z_t = exp(iπ Δ_t tanh(W_θ x_t)) ∘ z_{t−1},    z_0 = 1                of each head and angle
        k_tr = z_t ∘ (scale_B ∘ rms_norm(W_B,r x_t) + bias_B,r)
        q_tr = z_t ∘ (scale_C ∘ rms_norm(W_C,r x_t) + bias_C,r)             r = 1, ..., rank
        v_tr = u_r ∘ W_v x_t
        S_t = α_t S_{t−1} + (1 − λ_t) Δ_t α_t Σ_r v_{t−1,r} k_{t−1,r}ᵀ + λ_t Δ_t Σ_r v_tr k_trᵀ
        y_t = Σ_r d_r ∘ (S_t q_tr + D v_tr)

    z multiplies pairs of neighbouring channels of k and q, read as complex numbers: a rotation of
    the state that is moved to what writes and reads it. With rank 1 (SISO) u and d are 1; higher
    ranks are MIMO.

    The cell is a series of three: the rotation, the step before, and the memory. The memory holds
    S'_t = S_t − λ_t Δ_t Σ_r v_tr k_trᵀ, to which a step writes once for each r, what it adds for
    the step before; a reading adds what S' lacks:

        S'_t = α_t (S'_{t−1} + (λ_{t−1} Δ_{t−1} + (1 − λ_t) Δ_t) Σ_r v_{t−1,r} k_{t−1,r}ᵀ)
        S_t q_tr = S'_t q_tr + λ_t Δ_t Σ_j (k_tj · q_tr) v_tj

    Shapes: x (input,), Δ, λ, α and D (heads,), z (heads, angles), k and q (heads, rank, key), v, u
    and d (heads, rank, value), S (heads, 1, value, key), y (hidden,) with hidden = heads · value;
    W_B,r and W_C,r are of each group of heads. Cost per step: O(input · (hidden + groups · rank ·
    key)) for the projections, none of it sequential, and O(hidden · key · rank) for the memory,
    sequential from chunk to chunk only.
    Source: Lahoti et al. 2026, arXiv:2603.15569. Of its text only parts were at hand; the equations
    are those of the authors' code, state-spaces/mamba at commit 7438488: `Mamba3`, and the loops in
    its tests. This is the core, without the gate and the output projection; the whole is
    `seqmem.blocks.mamba3_block`. Differs: z is a running product, where the code keeps a sum of
    angles, in SISO modulo 2π; and neighbouring channels are rotated for every rank, where the code
    pairs channel n with channel n + key/2 in MIMO, a permutation of the rows of W_B and W_C. At the
    start softplus(b) is log-uniform on [0.001, 0.1], the scales, the biases of B and C and D are 1,
    and u and d are 1/rank. Since commit c69aaab of June 2026 the code has another positive function
    in place of the softplus of W_A x.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of one output, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        key_size: features of B and C of one group, > 1; None: as of the value of one head.
        num_groups: number of groups of heads that share W_B and W_C, a divisor of `num_heads`.
        rank: writes and reads per step, > 0.
        num_angles: rotated pairs of channels, > 0 and at most half of `key_size`; None: a quarter
            of `key_size`, so that half of the channels rotate.
        eps: ε of the norms, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, the groups do not divide the
            heads, the key has fewer than two channels for an angle, or a size is below 1.
    """

    layers: tuple[Any, ...]

    def __init__(
        self,
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
    ):
        options = {"key_size": key_size, "num_groups": num_groups, "rank": rank}
        options["num_angles"] = num_angles
        sizes = mamba3_sizes("Mamba3", input_size, hidden_size, num_heads, **options)
        keys = jax.random.split(key)
        rotation = Mamba3Rotation(sizes, key=keys[0])
        self.layers = rotation, Mamba3Steps(sizes, eps, key=keys[1]), Mamba3Memory(sizes)

    def map_first(self, change: Callable[[Any], Any]) -> "Mamba3":
        first, *others = self.layers
        return eqx.tree_at(lambda cell: cell.layers, self, (change(first), *others))


class Mamba3Memory(AbstractFastWeightCell):
    """The third part: the memory, and the outputs."""

    input_shape: ClassVar[Any] = StepPair._make(
        [
            *((None,), (None, None, None), (None,), (None,)),
            *[Step._make([(None, None, None), (None, None, None), (None,)])] * 2,
        ]
    )

    D: Float[Array, " heads"]
    down: Float[Array, "heads rank value"] | None
    key_size: int = eqx.field(static=True)
    value_size: int = eqx.field(static=True)

    def __init__(self, sizes: Mamba3Sizes):
        self.D = jnp.ones(sizes.heads)
        self.down = None if sizes.rank == 1 else jnp.full(sizes.per_rank, 1 / sizes.rank)
        self.key_size, self.value_size = sizes.key, sizes.value

    def init_state(self):
        sizes = len(self.D), 1, self.value_size, self.key_size
        return Memory(jnp.zeros(sizes, state_dtype(self.D)))

    def project(self, x):
        write, lacking = trapezoid(x)
        return write, lacking + self.D[:, None, None] * x.now.value

    def output(self, reading, extra):
        return self.merged(reading + extra).ravel()

    def merged(self, y: Float[Array, "heads rank value"]) -> Float[Array, "heads value"]:
        """The sum of all ranks."""
        return (y if self.down is None else self.down * y).sum(1)


def trapezoid(steps: StepPair) -> tuple[Write, Float[Array, "heads rank value"]]:
    """The write of the step before, S'_t, and what a reading of S'_t lacks of one of S_t."""

    def scaled(value: Array, weight: Array) -> Array:
        return weight[:, None, None] * value

    _, query, log_decay, late_weight, now, before = steps
    weight = jnp.exp(log_decay) * (before.weight + late_weight)
    # The first write of a step decays, the others follow it.
    is_first = jnp.arange(before.key.shape[1])[:, None] == 0
    log_decays = jnp.where(is_first, log_decay[:, None, None, None], 0)
    write = Write(query, before.key[:, None], scaled(before.value, weight)[:, None], log_decays)
    return write, scaled(matmul(matmul(query, now.key.mT), now.value), now.weight)
