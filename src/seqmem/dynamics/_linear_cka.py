"""Linear centred kernel alignment: how similar the geometry of two sets of states is."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core.errors import bad_input


def linear_cka(X: Float[Array, "*sample n"], Y: Float[Array, "*sample m"]) -> Float[Array, ""]:
    """How similar the states of two networks on the same inputs are, in [0, 1].

        CKA(X, Y) = ‖Yᵀ X‖² / (‖Xᵀ X‖ ‖Yᵀ Y‖)        Frobenius norms; columns with mean 0

    It is 1 where the states are the same but for a rotation, a reflection, a shift and one scale,
    so it compares networks from different seeds and of different sizes. All axes but the last are
    samples, such as steps and examples. It sees where states are, not how they move:
    `dynamical_similarity` compares that.

    Source: Kornblith et al. 2019, arXiv:1905.00414, linear CKA in the form of features.

    Args:
        X: states of one network, at least two samples.
        Y: states of the other one at the same steps of the same inputs.

    Returns:
        the CKA; NaN where all states of a network are equal.

    Raises:
        ValueError: where the samples differ in number, or are fewer than two.

    Example:
        >>> import jax, seqmem
        >>> X = jax.random.normal(jax.random.key(0), (20, 3))
        >>> round(float(seqmem.dynamics.linear_cka(X, 5 * X[:, ::-1] + 1)), 5)
        1.0
    """
    samples = jnp.shape(X)[:-1], jnp.shape(Y)[:-1]
    if samples[0] != samples[1] or not samples[0] or jnp.size(X) < 2 * jnp.shape(X)[-1]:
        raise bad_input(
            f"linear_cka got states of shapes {jnp.shape(X)} and {jnp.shape(Y)}.",
            "[*samples, n] and [*samples, m], with the same samples, at least two.",
            "run both networks over the same inputs, and pass the states of all steps.",
        )
    return _cka(X.reshape(-1, X.shape[-1]), Y.reshape(-1, Y.shape[-1]))


@jax.jit
def _cka(X: Float[Array, "sample n"], Y: Float[Array, "sample m"]) -> Float[Array, ""]:
    X, Y = (states - states.mean(0) for states in (X, Y))
    norm = jnp.linalg.norm
    return norm(Y.T @ X) ** 2 / (norm(X.T @ X) * norm(Y.T @ Y))
