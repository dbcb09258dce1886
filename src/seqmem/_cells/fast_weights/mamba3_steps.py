"""What the memory of Mamba-3 reads of its inputs: `Mamba3`, which has the equations, runs these two
parts before it.
"""

import math
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid, softplus
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from ..._core.errors import bad_input
from ..._core.precision import state_dtype
from ..._core.validation import check_divisor, check_heads, check_sizes
from ..diagonal.family import AbstractDiagonalCell
from ..initialisers import lecun_normal, softplus_bias
from ..normalisation import rms_norm
from ..window.family import AbstractWindowCell

LEAST_RATE = 1e-4  # of −A


class Mamba3Sizes(NamedTuple):
    """The sizes of a Mamba-3: `input_size` and so on."""

    input: int
    hidden: int
    heads: int
    key: int
    groups: int
    rank: int
    angles: int

    @property
    def value(self) -> int:
        """Features of the value of one head."""
        return self.hidden // self.heads

    @property
    def per_rank(self) -> tuple[int, int, int]:
        """The shape of what multiplies the values of one rank."""
        return self.heads, self.rank, self.value


def mamba3_sizes(
    owner: str, input_size: int, hidden_size: int, num_heads: int, **options: int | None
) -> Mamba3Sizes:
    """The sizes, checked; a `key_size` or `num_angles` of None is the default.

    Raises:
        ValueError: where the sizes do not fit.
    """
    check_heads(owner, hidden_size, num_heads)
    num_groups, rank, key_size = (options[name] for name in ("num_groups", "rank", "key_size"))
    check_divisor(owner, "num_groups", num_groups, "num_heads", num_heads)
    key_size = hidden_size // num_heads if key_size is None else key_size
    num_angles = options["num_angles"]
    num_angles = max(1, key_size // 4) if num_angles is None else num_angles
    check_sizes(owner, input_size=input_size, key_size=key_size, rank=rank, num_angles=num_angles)
    assert num_groups is not None
    assert rank is not None
    if 2 * num_angles > key_size:
        raise bad_input(
            f"{owner} got num_angles={num_angles} for key_size={key_size}.",
            "two channels of the key for each angle.",
            f"choose a key_size of at least {2 * num_angles}, or fewer angles.",
        )
    return Mamba3Sizes(input_size, hidden_size, num_heads, key_size, num_groups, rank, num_angles)


class Turned(NamedTuple):
    """What the first part passes on."""

    x: Float[Array, " input"]
    delta: Float[Array, " heads"]  # Δ, the length of the time step
    z: Complex[Array, "heads angles"]  # the rotation


class Step(NamedTuple):
    """What a step adds to the memory: weight · Σ_r value_r key_rᵀ, in each head."""

    key: Float[Array, "heads rank key"]
    value: Float[Array, "heads rank value"]
    weight: Float[Array, " heads"]  # λ Δ


class StepPair(NamedTuple):
    """What the second part passes on."""

    x: Float[Array, " input"]
    query: Float[Array, "heads rank key"]
    log_decay: Float[Array, " heads"]  # ln α
    late_weight: Float[Array, " heads"]  # (1 − λ) Δ: of the step before, added in this one
    now: Step
    before: Step


class Mamba3Rotation(AbstractDiagonalCell):
    """The first part: Δ and the rotation z.

    The state is a product of numbers of absolute value 1, and is read as z / |z|, so that rounding
    does not add up to a gain. A sum of angles would lose digits as it grows, since only its
    remainder modulo 2π counts.
    """

    W_delta: Float[Array, "heads input"]
    b: Float[Array, " heads"]
    W_theta: Float[Array, "angles input"]

    def __init__(self, sizes: Mamba3Sizes, *, key: PRNGKeyArray):
        keys = jax.random.split(key, 3)
        self.W_delta = lecun_normal(keys[0], (sizes.heads, sizes.input))
        self.b = softplus_bias(keys[1], sizes.heads, 1e-3, 1e-1)
        self.W_theta = lecun_normal(keys[2], (sizes.angles, sizes.input))

    @property
    def input_shape(self):
        return self.W_delta.shape[-1:]

    def init_state(self):
        ones = jnp.ones((len(self.W_delta), len(self.W_theta)), state_dtype(self.b))
        return jax.lax.complex(ones, jnp.zeros_like(ones))

    def project(self, x):
        delta = softplus(x @ self.W_delta.mT + self.b)
        return x, delta, math.pi * delta[:, None] * jnp.tanh(x @ self.W_theta.mT)

    def update(self, z, u):
        angle = u[2]
        return jax.lax.complex(jnp.cos(angle), jnp.sin(angle)) * z

    def readout(self, z, u):
        x, delta, _ = u
        size = jax.lax.rsqrt(z.real**2 + z.imag**2 + 1e-20)  # with its gradient, finite at 0
        return Turned(x, delta, jax.lax.complex(z.real * size, z.imag * size))


class Mamba3Steps(AbstractWindowCell):
    """The second part: keys, queries, values and weights of each step, and the step before.

    Before the first input, and before a reset, a step is 0.
    """

    input_shape: ClassVar[Any] = Turned._make([(None,), (None,), (None, None)])

    W_v: Float[Array, "hidden input"]
    W_BC: Float[Array, "2 rank groups key input"]
    W_A: Float[Array, "heads input"]
    W_lambda: Float[Array, "heads input"]
    scale: Float[Array, "2 key"]  # of B and of C
    bias: Float[Array, "2 heads rank key"]
    up: Float[Array, "heads rank value"] | None
    eps: float = eqx.field(static=True)

    def __init__(self, sizes: Mamba3Sizes, eps: float, *, key: PRNGKeyArray):
        keys = jax.random.split(key, 4)
        self.W_v = lecun_normal(keys[0], (sizes.hidden, sizes.input))
        matrices = 2, sizes.rank, sizes.groups, sizes.key, sizes.input
        self.W_BC = lecun_normal(keys[1], matrices)
        self.W_A = lecun_normal(keys[2], (sizes.heads, sizes.input))
        self.W_lambda = lecun_normal(keys[3], (sizes.heads, sizes.input))
        self.scale = jnp.ones((2, sizes.key))
        self.bias = jnp.ones((2, sizes.heads, sizes.rank, sizes.key))
        self.up = None if sizes.rank == 1 else jnp.full(sizes.per_rank, 1 / sizes.rank)
        self.eps = eps

    def init_state(self):
        _, heads, rank, key_size = self.bias.shape
        value_size = len(self.W_v) // heads
        shapes = (2, heads, rank, key_size), (2, heads, rank, value_size), (2, heads)
        return Step._make(jnp.zeros(shape, state_dtype(self.W_v)) for shape in shapes)

    def project(self, x):
        x, delta, z = x
        heads = len(z)
        B, C = rms_norm(x @ self.W_BC.mT, self.eps) * self.scale[:, None, None]
        k, q = (
            rotate_pairs(jnp.repeat(jnp.moveaxis(leaf, 1, 0), heads // leaf.shape[1], 0) + bias, z)
            for leaf, bias in zip((B, C), self.bias, strict=True)
        )
        v = (x @ self.W_v.mT).reshape(heads, 1, -1)
        v = v if self.up is None else self.up * v
        rate = jnp.maximum(softplus(x @ self.W_A.mT), LEAST_RATE)
        lam = sigmoid(x @ self.W_lambda.mT)
        return Step(k, v, lam * delta), (x, q, -delta * rate, (1 - lam) * delta)

    def readout(self, window, u):
        return _pair(u, jax.tree.map(lambda leaf: leaf[0], window))

    def readout_sequence(self, history, u):
        return _pair(u, history.shifted(1))


def _pair(u: tuple[Step, tuple], before: Step) -> StepPair:
    now, (x, query, log_decay, late_weight) = u
    return StepPair(x, query, log_decay, late_weight, now, before)


def rotate_pairs(
    x: Float[Array, "heads rank key"], z: Complex[Array, "heads angles"]
) -> Float[Array, "heads rank key"]:
    """z ∘ x, where neighbouring channels of x are the real and imaginary parts of numbers; the
    channels after 2 · angles stay as they are. The result has the precision of z.
    """
    heads, rank, _ = x.shape
    angles = z.shape[-1]
    cos, sin = z.real[:, None], z.imag[:, None]
    x = x.astype(cos.dtype)
    pairs = x[..., : 2 * angles].reshape(heads, rank, angles, 2)
    re, im = pairs[..., 0], pairs[..., 1]
    turned = jnp.stack([re * cos - im * sin, re * sin + im * cos], -1)
    return jnp.concatenate([turned.reshape(heads, rank, -1), x[..., 2 * angles :]], -1)
