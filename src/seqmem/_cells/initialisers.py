"""Initial parameters: random arrays from a key and a shape, each in one compiled program.

All draws are made flat and reshaped after: XLA compiles a one-dimensional draw about three times
faster, and the numbers are the same.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, PRNGKeyArray


@functools.partial(jax.jit, static_argnums=1)
def normal(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Standard normal entries."""
    return jax.random.normal(key, (math.prod(shape),)).reshape(shape)


@functools.partial(jax.jit, static_argnums=1)
def lecun_normal(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Normal entries of variance 1/columns, so that a product keeps the variance of its input."""
    return normal(key, shape) / math.sqrt(shape[-1])


@functools.partial(jax.jit, static_argnums=1)
def orthogonal(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Matrices with orthonormal rows or columns, one for each leading index (one per gate).

    Each is uniform over the orthogonal matrices (Haar): the Q of a normal matrix, with the signs
    that make the diagonal of R positive. A fused matrix that is orthogonal would have no orthogonal
    gate.
    """
    return _orthogonalise(normal(key, shape))


@functools.partial(jax.jit, static_argnums=(1, 2))
def gate_matrices(
    key: PRNGKeyArray, input_shape: tuple[int, ...], recurrent_shape: tuple[int, ...]
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """(W, U): `lecun_normal` input weights and `orthogonal` recurrent weights, from one draw."""
    entries = math.prod(input_shape)
    draws = jax.random.normal(key, (entries + math.prod(recurrent_shape),))
    W = draws[:entries].reshape(input_shape) / math.sqrt(input_shape[-1])
    return W, _orthogonalise(draws[entries:].reshape(recurrent_shape))


def gate_biases(gates: tuple[str, ...], size: int, **biases: float) -> Float[Array, "gates size"]:
    """Biases of 0, and of the given values for the gates named."""
    rows = [np.full(size, biases.get(name, 0.0)) for name in gates]
    return jnp.asarray(np.stack(rows), jnp.result_type(float))


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def uniform(
    key: PRNGKeyArray, shape: tuple[int, ...], least: float, greatest: float
) -> Float[Array, "..."]:
    """Numbers uniform in [least, greatest)."""
    draws = jax.random.uniform(key, (math.prod(shape),), minval=least, maxval=greatest)
    return draws.reshape(shape)


def uniform_fan_in(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Numbers uniform in ±1/√columns, as in `torch.nn.Linear`."""
    bound = 1 / math.sqrt(shape[-1])
    return uniform(key, shape, -bound, bound)


def uniform_log(
    key: PRNGKeyArray, shape: tuple[int, ...], least: float, greatest: float
) -> Float[Array, "..."]:
    """Logarithms of positive numbers that are log-uniform in [least, greatest)."""
    return uniform(key, shape, math.log(least), math.log(greatest))


def ring(
    keys: PRNGKeyArray, size: int, r_min: float, r_max: float, max_phase: float
) -> tuple[Float[Array, " size"], Float[Array, " size"], Float[Array, " size"]]:
    """(ν, θ, |λ|²) of λ = exp(−exp(ν) + i exp(θ)), uniform on the ring r_min <= |λ| <= r_max with
    phases in [0, max_phase).

    `keys` are two keys: of the moduli and of the phases.
    """
    squares = uniform(keys[0], (size,), r_min**2, r_max**2)
    tiny, eps = jnp.finfo(squares.dtype).tiny, jnp.finfo(squares.dtype).eps
    squares = jnp.clip(squares, tiny, 1 - eps)
    phases = max_phase * uniform(keys[1], (size,), 0.0, 1.0)
    return jnp.log(-0.5 * jnp.log(squares)), jnp.log(jnp.maximum(phases, tiny)), squares


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def softplus_bias(
    key: PRNGKeyArray, size: int, least: float, greatest: float
) -> Float[Array, " size"]:
    """b with softplus(b), the length of a time step, log-uniform in [least, greatest)."""
    delta = jnp.exp(uniform_log(key, (size,), least, greatest))
    return delta + jnp.log(-jnp.expm1(-delta))


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def log_of_uniform(
    key: PRNGKeyArray, size: int, least: float, greatest: float
) -> Float[Array, " size"]:
    """Logarithms of positive numbers that are uniform in [least, greatest)."""
    return jnp.log(jax.random.uniform(key, (size,), minval=least, maxval=greatest))


def hippo_normal(
    size: int,
) -> tuple[Complex[np.ndarray, " half"], Complex[np.ndarray, "size half"]]:
    """Half of the eigenvalues of HiPPO-N, and their eigenvectors in columns: one of each conjugate
    pair.

        A[n, m] = −√(n + ½) √(m + ½)  below the diagonal, its negative above, −½ on it

    Source: Smith et al. 2023, arXiv:2208.04933; HiPPO-LegS is A − p pᵀ with p_n = √(n + ½).

    Args:
        size: rows of the matrix, even.
    """
    root = np.sqrt(np.arange(size) + 0.5)
    below = np.tril(np.outer(root, root), -1)
    frequencies, V = np.linalg.eigh(-1j * (below.T - below))
    half = size // 2
    return -0.5 + 1j * frequencies[:half], V[:, :half]


def _orthogonalise(A: Float[Array, "*gates rows columns"]) -> Float[Array, "*gates rows columns"]:
    """The orthogonal factor of each matrix; of its transpose where it is wide."""
    is_wide = A.shape[-2] < A.shape[-1]
    Q, R = jnp.linalg.qr(A.mT if is_wide else A)
    Q = Q * jnp.sign(jnp.diagonal(R, axis1=-2, axis2=-1))[..., None, :]
    return Q.mT if is_wide else Q
