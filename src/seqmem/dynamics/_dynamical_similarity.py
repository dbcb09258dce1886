"""Dynamical similarity analysis: whether two systems move alike, whatever their coordinates."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from .._core.errors import bad_input
from .._core.optimiser import optimiser_step
from .._core.validation import check_count

STEPS, LEARNING_RATE = 300, 0.05


class DynamicalSimilarity(NamedTuple):
    """The result of `dynamical_similarity`.

    Attributes:
        angle: between A and C B Cᵀ, in [0, π]; 0 where the systems move alike.
        distance: ‖A − C B Cᵀ‖, the Frobenius norm.
        A: the linear map of the first system, v_{t+1} ≈ A v_t.
        B: that of the second one.
        C: the orthogonal matrix that brings them closest.
    """

    angle: Float[Array, ""]
    distance: Float[Array, ""]
    A: Float[Array, "rank rank"]
    B: Float[Array, "rank rank"]
    C: Float[Array, "rank rank"]


def dynamical_similarity(
    xs: Float[Array, "time *batch n"],
    ys: Float[Array, "time2 *batch2 m"],
    *,
    delays: int,
    rank: int,
    num_starts: int = 8,
    key: PRNGKeyArray,
) -> DynamicalSimilarity:
    """How differently two systems move: the distance between the linear maps that describe them
    best, in the coordinates in which they agree most.

        h_t = [x_t, x_{t−1}, …, x_{t−d+1}]            the delay embedding, d = `delays`
        H = V Σ Uᵀ,  v_t the first r entries of row t of V       r = `rank`
        A = argmin Σ_t ‖v_{t+1} − A v_t‖²,  and B so of the other system
        angle = min over orthogonal C of arccos ⟨A, C B Cᵀ⟩ / (‖A‖ ‖B‖)

    The systems may have different sizes and lengths, and need not be in step. A rotation, a
    reflection or a scale of the states changes nothing. `linear_cka` compares where states are;
    this compares how they move. Choose r so that the singular values left out are small, and not
    so large that v_t holds noise.

    The minimum is searched by Adam along the Cayley map of skew-symmetric matrices, from
    `num_starts` random orthogonal matrices and from one that is the solution where B is A in other
    coordinates: the eigenvectors of the symmetric parts, with the signs on which the skew parts
    agree. The angle is an upper bound.

    Source: Ostrow et al. 2023, arXiv:2306.10168, by their program, mitchellostrow/DSA; the paper's
    text was not read. Differs: the starts; the program's `euclidean` distance is that of A / ‖A‖
    and B / ‖B‖, which is 2 sin(angle / 2).

    Args:
        xs: states of one system, such as the `states` of `seqmem.solve`, at least `delays` + 1
            steps.
        ys: states of the other one.
        delays: d, >= 1.
        rank: r, from 1 to the number of entries of h_t and of steps of h in either system.
        num_starts: random starts of the search, >= 1.
        key: random key for the starts.

    Raises:
        ValueError: for states that are no trajectories, too many delays for their length, or a rank
            that is too large.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> t = 0.1 * jnp.arange(200.0)
        >>> slow, fast = (jnp.stack([jnp.cos(w * t), jnp.sin(w * t)], 1) for w in (1, 3))
        >>> def angle(xs, ys):
        ...     similarity = seqmem.dynamics.dynamical_similarity(
        ...         xs, ys, delays=3, rank=2, key=jax.random.key(0)
        ...     )
        ...     return round(float(similarity.angle), 2)
        >>> angle(slow, slow @ jnp.array([[0.0, 2], [2, 0]])), angle(slow, fast)
        (0.0, 0.2)
    """
    owner = "dynamical_similarity"
    counts = {"delays": delays, "rank": rank, "num_starts": num_starts}
    for name, value in counts.items():
        check_count(owner, name, value)
    for name, states in (("xs", xs), ("ys", ys)):
        _check_trajectory(name, jnp.shape(states), delays, rank)
    A, B = (_linear_map(states, delays, rank) for states in (xs, ys))
    C, loss = _align(A, B, key, num_starts)
    angle = 2 * jnp.arcsin(jnp.minimum(jnp.sqrt(loss) / 2, 1))  # arccos loses digits near 0
    return DynamicalSimilarity(angle, jnp.linalg.norm(A - C @ B @ C.T), A, B, C)


def _check_trajectory(name: str, shape: tuple[int, ...], delays: int, rank: int) -> None:
    if len(shape) < 2 or shape[0] <= delays:
        raise bad_input(
            f"dynamical_similarity got {name} of shape {shape} and delays={delays}.",
            "[time, *batch, n] with at least delays + 1 steps.",
            "choose fewer delays, or pass longer trajectories.",
        )
    time, *batch, n = shape
    rows = (time - delays + 1) * math.prod(batch)
    most = min(n * delays, rows)
    if rank > most:
        raise bad_input(
            f"dynamical_similarity got rank={rank} for {name} of shape {shape}.",
            f"at most {most}: {n} entries, {delays} delays, {rows} embedded steps.",
            "choose a smaller rank, or more delays.",
        )


@functools.partial(jax.jit, static_argnums=(1, 2))
def _linear_map(xs: Array, delays: int, rank: int) -> Float[Array, "rank rank"]:
    """A, by least squares in the leading coordinates of the delay embedding."""
    steps = len(xs) - delays + 1
    h = jnp.concatenate([xs[d : d + steps] for d in range(delays)], -1)
    rows = h.reshape(-1, h.shape[-1])
    V = jnp.linalg.svd(rows, full_matrices=False)[0][:, :rank].reshape(*h.shape[:-1], rank)
    before, after = (part.reshape(-1, rank) for part in (V[:-1], V[1:]))
    return jnp.linalg.lstsq(before, after)[0].T


@functools.partial(jax.jit, static_argnums=3)
def _align(A: Array, B: Array, key: PRNGKeyArray, num_starts: int) -> tuple[Array, Array]:
    """The orthogonal C with the least ‖A / ‖A‖ − C B Cᵀ / ‖B‖‖² that was found, and that."""
    A, B = (M / jnp.linalg.norm(M) for M in (A, B))
    n = len(A)
    randoms = jnp.linalg.qr(jax.random.normal(key, (num_starts, n, n), A.dtype))[0]
    # Rotations and reflections by turns: a path of rotations does not lead from one to the other.
    handedness = jnp.where(jnp.arange(num_starts) % 2, -1, 1) * jnp.linalg.det(randoms)
    randoms = randoms.at[:, :, 0].multiply(jnp.sign(handedness)[:, None])
    starts = jnp.concatenate([_eigenvector_start(A, B)[None], randoms])

    def loss(C: Array) -> Array:
        return ((A - C @ B @ C.T) ** 2).sum()

    optimiser = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, STEPS), eps=1e-12)

    def search(start: Array) -> tuple[Array, Array]:
        def rotated(X: Array) -> Array:
            skew, identity = X - X.T, jnp.eye(n, dtype=A.dtype)
            return jnp.linalg.solve(identity + skew, identity - skew) @ start

        def descend(carry: tuple, _) -> tuple[tuple, None]:
            X, opt_state, best, least = carry
            value, gradient = jax.value_and_grad(lambda X: loss(rotated(X)))(X)
            best = jnp.where(value < least, rotated(X), best)
            X, opt_state = optimiser_step(optimiser, gradient, opt_state, X)
            return (X, opt_state, best, jnp.minimum(value, least)), None

        X = jnp.zeros_like(A)
        carry = (X, optimiser.init(X), start, loss(start))
        (*_, best, least), _ = jax.lax.scan(descend, carry, length=STEPS)
        return best, least

    best, least = jax.vmap(search)(starts)
    index = least.argmin()
    return best[index], least[index]


def _eigenvector_start(A: Array, B: Array) -> Array:
    """C = P diag(s) Qᵀ, of the eigenvectors of the symmetric parts of A and B; s are the signs of
    the leading eigenvector of (Pᵀ A' P) ∘ (Qᵀ B' Q), with the skew parts A' and B'.

    Where B is A in other coordinates, and the symmetric part has no eigenvalue twice, the columns
    are right up to signs, and the product is s sᵀ times squares: its leading eigenvector has the
    signs s.
    """
    P, Q = (jnp.linalg.eigh((M + M.T) / 2)[1] for M in (A, B))
    skew_A, skew_B = (E.T @ (M - M.T) @ E / 2 for M, E in ((A, P), (B, Q)))
    signs = jnp.sign(jnp.linalg.eigh(skew_A * skew_B)[1][:, -1])
    return (P * jnp.where(signs == 0, 1, signs)) @ Q.T
