"""The QR loop of Lyapunov analysis: k orthonormal directions that follow the steps of a state."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._core.errors import bad_input
from .._core.problem import State
from .._core.validation import check_count
from ._step_map import StepMap


class Frame(NamedTuple):
    """The carry of the loop: the state and k orthonormal directions."""

    state: State
    Q: Float[Array, "n k"]


def check_directions(owner: str, k: int, size: int, time: int) -> None:
    """Refuse a number of directions that a state of `size` entries does not have, and no step.

    Raises:
        ValueError: for k outside of 1 … size, or a time of 0.
    """
    check_count(owner, "k", k, remedy="choose at most the number of entries of the state.")
    if k > size or not time:
        raise bad_input(
            f"{owner} got k={k} and {time} steps.",
            f"1 to {size} exponents, the entries of the state, and at least one step.",
            "choose a smaller k, and pass the inputs of at least one step.",
        )


def random_frame(key: PRNGKeyArray, k: int, step_map: StepMap, state: State) -> Frame:
    """A state with k random directions; direction i depends on the key and on i alone."""
    vector = step_map.vector(state)

    def draw(index: Array) -> Float[Array, " n"]:
        return jax.random.normal(jax.random.fold_in(key, index), vector.shape, vector.dtype)

    return Frame(state, jnp.linalg.qr(jax.vmap(draw, out_axes=1)(jnp.arange(k)))[0])


def advance(step_map: StepMap, frame: Frame, x: PyTree) -> tuple[Frame, Float[Array, "k k"]]:
    """One step of the state and its directions, Q_t R_t = J_t Q_{t−1}: the next frame and R_t."""
    state, Q = frame
    next_vector, vector = step_map.map_at(state, x), step_map.vector(state)

    def multiply_by_jacobian(q: Float[Array, " n"]) -> Float[Array, " n"]:
        return jax.jvp(next_vector, (vector,), (q,))[1]

    Q, R = orthonormalise(jax.vmap(multiply_by_jacobian, 1, 1)(Q))
    return Frame(step_map.step(state, x), Q), R


def smallest_growth(dtype: jnp.dtype) -> float:
    """100 ε: what |R_ii| counts as at least, where it is divided by or differentiated.

    Below it, R_ii is rounding of directions whose factors are near 1.
    """
    return 100 * float(jnp.finfo(dtype).eps)


@jax.custom_jvp
def orthonormalise(M: Float[Array, "n k"]) -> tuple[Float[Array, "n k"], Float[Array, "k k"]]:
    """The QR decomposition of a matrix, with a derivative that is finite for any rank.

    With X = dM R⁻¹ and L the part of QᵀX below the diagonal,

        dQ = Q (L − Lᵀ − QᵀX) + X,    dR = (QᵀX − L + Lᵀ) R

    Columns with |R_ii| < `smallest_growth` have no derivative: rounding chose their direction. X is
    0 there, so these directions only stay orthogonal to the others.
    Source: the rule of `jnp.linalg.qr`, which divides by R_ii.
    """
    Q, R = jnp.linalg.qr(M)
    return Q, R


@orthonormalise.defjvp
def _orthonormalise_jvp(primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
    (M,), (dM,) = primals, tangents
    Q, R = orthonormalise(M)
    is_rounding = jnp.abs(jnp.diagonal(R)) < smallest_growth(R.dtype)
    X = jax.lax.linalg.triangular_solve(
        jnp.where(is_rounding, jnp.eye(len(R), dtype=R.dtype), R), jnp.where(is_rounding, 0, dM)
    )
    QX = Q.mT @ X
    lower = jnp.tril(QX, -1)
    rotation = lower - lower.mT
    return (Q, R), (Q @ (rotation - QX) + X, (QX - rotation) @ R)
