"""Initial parameters: arrays from a key and a shape, one matrix per gate."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, PRNGKeyArray


def orthogonal(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Matrices with orthonormal rows or columns, one drawn for each leading index (one per gate).

    Drawn over a fused matrix instead, no gate would be orthogonal.
    """
    draw = jax.nn.initializers.orthogonal()
    keys = jax.random.split(key, shape[:-2])
    for _ in shape[:-2]:
        draw = jax.vmap(draw, in_axes=(0, None))
    return draw(keys, shape[-2:]) if shape[:-2] else draw(key, shape)


def lecun_normal(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Normal entries of variance 1/columns, so that a product keeps the variance of its input."""
    return jax.random.normal(key, shape) / jnp.sqrt(jnp.asarray(shape[-1], jnp.result_type(float)))


def uniform_log(
    key: PRNGKeyArray, shape: tuple[int, ...], least: float, greatest: float
) -> Float[Array, "..."]:
    """Logarithms of numbers between two positive ones, the logarithms uniform."""
    return jax.random.uniform(key, shape, minval=math.log(least), maxval=math.log(greatest))


def softplus_bias(
    key: PRNGKeyArray, size: int, least: float, greatest: float
) -> Float[Array, " size"]:
    """b with softplus(b) log-uniform between two positive numbers: the length of a step."""
    steps = jnp.exp(uniform_log(key, (size,), least, greatest))
    return steps + jnp.log(-jnp.expm1(-steps))


def log_of_uniform(
    key: PRNGKeyArray, size: int, least: float, greatest: float
) -> Float[Array, " size"]:
    """Logarithms of numbers uniform between two positive ones."""
    return jnp.log(jax.random.uniform(key, (size,), minval=least, maxval=greatest))


def hippo_normal(
    size: int,
) -> tuple[Complex[np.ndarray, " half"], Complex[np.ndarray, "size half"]]:
    """Half of the eigenvalues of HiPPO-N, and their eigenvectors in columns: one of each conjugate
    pair.

        A[n, m] = −√(n + ½) √(m + ½)  below the diagonal, its negative above, −½ on it

    Source: Smith et al. 2023, arXiv:2208.04933; HiPPO-LegS is A − p pᵀ with p_n = √(n + ½).

    Args:
        size: of the matrix, even.
    """
    root = np.sqrt(np.arange(size) + 0.5)
    below = np.tril(np.outer(root, root), -1)
    frequencies, V = np.linalg.eigh(-1j * (below.T - below))
    half = size // 2
    return -0.5 + 1j * frequencies[:half], V[:, :half]
