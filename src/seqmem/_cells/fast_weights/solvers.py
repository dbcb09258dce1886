"""Solvers of (S_t + Λ) x_t = q_t, at many steps side by side: each step of a solver reads the
memory once more.
"""

import abc
import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._core.errors import bad_input
from ..._core.validation import check_count
from .chunkwise.view import MemoryView

Vectors = Float[Array, "*lead step key"]


class AbstractSolver(abc.ABC):
    """Solves (S_t + Λ) x_t = q_t at each step, S_t symmetric and positive, Λ diagonal.

    The gradient is that of the solution: it is found by the solver too, once more, and nothing is
    kept of the steps on the way. It is as exact as the solution is.
    """

    @abc.abstractmethod
    def solve(self, memory: MemoryView, ridge: Vectors, query: Vectors) -> Vectors:
        """x_t of each step.

        Args:
            memory: the square matrices S_t.
            ridge: the diagonal of Λ, in axes that broadcast against the query's.
            query: q_t.
        """


@dataclasses.dataclass(frozen=True)
class ConjugateGradients(AbstractSolver):
    """Conjugate gradients from x = 0. A query whose residual is down to the rounding of its first
    one is left as it is; a query of 0 has the solution 0.

    Before they converge they are not linear in the query. Then a gradient of a gradient, which adds
    solutions, depends on the method that runs the cell; it does not with `Chebyshev`.

    Source: Hestenes & Stiefel 1952, doi:10.6028/jres.049.044.

    Args:
        steps: readings of the memory, > 0. As many as the key has channels are exact.

    Raises:
        ValueError: for steps that are not a whole number of at least 1.
    """

    steps: int = 30

    def __post_init__(self):
        _check_steps(self)

    def solve(self, memory, ridge, query):
        def run(multiply: Callable[[Vectors], Vectors], b: Vectors) -> Vectors:
            scale = jnp.abs(b).max(-1, keepdims=True)
            r = b / jnp.where(scale == 0, 1, scale)
            least = jnp.finfo(b.dtype).eps ** 2  # of r · r, which starts at 1 or more

            def step(_: int, iterate: tuple[Vectors, ...]) -> tuple[Vectors, ...]:
                x, r, p, r_r = iterate
                A_p = multiply(p)
                has_residual = r_r > least
                alpha = jnp.where(has_residual, r_r / _or_one(_dot(p, A_p)), 0)
                x, r = x + alpha * p, r - alpha * A_p
                new_r_r = _dot(r, r)
                p = jnp.where(has_residual, r + new_r_r / _or_one(r_r) * p, p)
                return x, r, p, new_r_r

            iterate = jnp.zeros_like(b), r, r, _dot(r, r)
            return scale * jax.lax.fori_loop(0, self.steps, step, iterate)[0]

        return _solution(memory, ridge, query, run)


@dataclasses.dataclass(frozen=True)
class Chebyshev(AbstractSolver):
    """Chebyshev iteration, for eigenvalues between the least entry of Λ and the largest plus the
    Frobenius norm of S_t.

        x_{i+1} = ω_i (x_i − 2 / (a + b) (A x_i − q)) − (ω_i − 1) x_{i−1},    A = S_t + Λ
        ω_i = 1 / (1 − ρ² ω_{i−1} / 4),    ρ = (b − a) / (b + a),    ω_0 = 2,  x_0 = 2 q / (a + b)

    It divides by nothing that depends on the query. a and b are the bounds.
    Source: as in Gated KalmaNet, Peng et al. 2025, arXiv:2511.21016.

    Args:
        steps: readings of the memory, > 0.

    Raises:
        ValueError: for steps that are not a whole number of at least 1.
    """

    steps: int = 30

    def __post_init__(self):
        _check_steps(self)

    def solve(self, memory, ridge, query):
        least = ridge.min(-1, keepdims=True)
        most = ridge.max(-1, keepdims=True) + frobenius_norm(memory)
        size, rho = 2 / (least + most), (most - least) / (most + least)

        def run(multiply: Callable[[Vectors], Vectors], b: Vectors) -> Vectors:
            def step(_: int, iterate: tuple[Vectors, ...]) -> tuple[Vectors, ...]:
                before, x, omega = iterate
                omega = 1 / (1 - rho * rho / 4 * omega)
                x, before = omega * (x - size * (multiply(x) - b)) - (omega - 1) * before, x
                return before, x, omega

            iterate = jnp.zeros_like(b), size * b, jnp.full_like(size, 2)
            return jax.lax.fori_loop(0, self.steps, step, iterate)[1]

        return _solution(memory, ridge, query, run)


@dataclasses.dataclass(frozen=True)
class Exact(AbstractSolver):
    """The exact solution, by a factorisation of each matrix: the reference for the other solvers.

    It reads the memory by every unit vector, and keeps a matrix per step of a chunk.
    """

    def solve(self, memory, ridge, query):
        size = query.shape[-1]
        identity = jnp.eye(size, dtype=query.dtype)
        units = identity.reshape(size, *[1] * (query.ndim - 1), size)
        units = jnp.broadcast_to(units, (size, *query.shape))
        A = jax.vmap(memory.read, out_axes=-1)(units) + ridge[..., None] * identity
        return jnp.linalg.solve(A, query[..., None])[..., 0]


def check_solver(owner: str, solver: AbstractSolver) -> None:
    """Refuse what is not a solver.

    Raises:
        ValueError: for anything else.
    """
    if not isinstance(solver, AbstractSolver):
        raise bad_input(
            f"{owner} got solver={solver!r}.",
            "a solver, such as seqmem.ConjugateGradients(steps=30).",
            "pass seqmem.ConjugateGradients, seqmem.Chebyshev or seqmem.Exact.",
        )


def frobenius_norm(memory: MemoryView) -> Float[Array, "*lead step 1"]:
    """‖S_t‖, and 0, with derivatives of 0, at S_t = 0 and where the derivatives of 1 / ‖S_t‖ could
    overflow: below 10⁻¹⁶ in float32.
    """
    square = memory.squared_norm()
    is_positive = square > 2.0**20 * jnp.finfo(square.dtype).tiny
    return jnp.where(is_positive, jnp.sqrt(jnp.where(is_positive, square, 1)), 0)


def _solution(
    memory: MemoryView,
    ridge: Vectors,
    query: Vectors,
    run: Callable[[Callable[[Vectors], Vectors], Vectors], Vectors],
) -> Vectors:
    """The solution by `run(multiply, query)`, with the derivatives of the equation it solves."""

    def multiply(x: Vectors) -> Vectors:
        return memory.read(x) + ridge * x

    return jax.lax.custom_linear_solve(multiply, query, run, symmetric=True)


def _check_steps(solver: ConjugateGradients | Chebyshev) -> None:
    name = type(solver).__name__
    check_count(name, "steps", solver.steps, remedy="choose 30 steps, or seqmem.Exact().")


def _dot(a: Vectors, b: Vectors) -> Float[Array, "*lead step 1"]:
    return (a * b).sum(-1, keepdims=True)


def _or_one(x: Array) -> Array:
    """x, and 1 where it is 0."""
    return jnp.where(x == 0, 1, x)
