"""Covariant Lyapunov vectors: the directions of growth that a step maps onto each other."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._core.arguments import check_run
from .._core.batching import vmap_batch
from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.problem import State
from .._core.shapes import leading_axes
from .._core.validation import check_count
from ._step_map import StepMap
from ._tangent_frame import Frame, advance, check_directions, random_frame, smallest_growth
from ._trajectory import initial_states


class CovariantVectors(NamedTuple):
    """The result of `covariant_vectors`, for the T − 2 · washout steps in the middle.

    Attributes:
        vectors: V_t, whose columns v_t,i have norm 1, at the state after each step.
        log_growth: ln ‖J_t v_{t−1,i}‖ of each step. Its mean over time is the exponent λ_i.
    """

    vectors: Float[Array, "time *batch n k"]
    log_growth: Float[Array, "time *batch k"]

    def angles(self) -> Float[Array, "time *batch k k"]:
        """The angle between each two vectors, as lines: in [0, π/2]."""
        U, V = self.vectors[..., :, None], self.vectors[..., None, :]
        distances = (jnp.linalg.norm(U - V, axis=-3), jnp.linalg.norm(U + V, axis=-3))
        return 2 * jnp.atan2(jnp.minimum(*distances), jnp.maximum(*distances))

    def splitting_angle(self, m: int) -> Float[Array, "time *batch"]:
        """The smallest angle between the space of the first m vectors and that of the others.

        With m the number of positive exponents, these are the unstable and the stable directions:
        where the angle comes near 0, the dynamics are not hyperbolic.

        Raises:
            ValueError: unless 1 <= m < k, and k <= n.
        """
        check_count("splitting_angle", "m", m, remedy="count the positive exponents.")
        k = self.vectors.shape[-1]
        if m >= k:
            raise bad_input(
                f"splitting_angle got m={m} for {k} vectors.",
                "at least one vector on either side.",
                "choose a smaller m, or compute more vectors.",
            )
        first, others = (
            jnp.linalg.qr(part)[0] for part in (self.vectors[..., :m], self.vectors[..., m:])
        )
        outside = others - first @ (first.mT @ others)
        sine = jnp.linalg.svd(outside, compute_uv=False)[..., -1]
        return jnp.asin(jnp.minimum(sine, 1))


def covariant_vectors(
    cell: AbstractCell,
    state: State | None,
    xs: PyTree,
    *,
    washout: int,
    k: int | None = None,
    key: PRNGKeyArray,
) -> CovariantVectors:
    """Covariant Lyapunov vectors along a trajectory driven by `xs`, by Ginelli's algorithm.

        Q_t R_t = J_t Q_{t−1}              forward in time, J_t = ∂s_t/∂s_{t−1}
        C_{t−1} = R_t⁻¹ C_t D_t            backward; D_t is diagonal, columns have norm 1
        V_t = Q_t C_t,    J_t V_{t−1} = V_t D_t

    Vector i grows with exponent λ_i forward in time and, unlike the directions of
    `lyapunov_exponents`, it shrinks with it backward in time, depends on no scalar product, and is
    mapped by a step to a multiple of itself at the next one. For a constant linear map the vectors
    are its eigenvectors.

    Both passes begin with arbitrary directions, which the first and the last `washout` steps
    align, at a rate given by the gaps between exponents. Vectors that share an exponent are some
    basis of their space. Where a step maps a direction to 0, |R_ii| counts as 100 ε.

    Cost per step: that of `lyapunov_exponents` and a triangular system of k × k. Memory:
    time · (n k + k²) numbers for each sequence.
    Source: Ginelli, Poggi, Turchi, Chaté, Livi & Politi 2007, Physical Review Letters 99, 130601;
    Ginelli, Chaté, Livi & Politi 2013, arXiv:1212.3961. The text of the first was not read, and of
    the second the abstract alone.

    Args:
        cell: the cell, with a state of n real floating point entries.
        state: the state before the first step; None is `cell.init_state()`.
        xs: the inputs, [time, *batch, ...], more than 2 · washout steps.
        washout: steps at the beginning and at the end that are left out, >= 0.
        k: how many of the leading vectors; None is all n.
        key: random key for the first directions.

    Raises:
        ValueError: for k outside of 1 … n, a washout that leaves no step, or a state that is
            complex or has no floating point entry.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> from seqmem import dynamics
        >>> cell, xs = seqmem.GRU(2, 3, key=jax.random.key(0)), jnp.ones((90, 2))
        >>> key = jax.random.key(1)
        >>> result = dynamics.covariant_vectors(cell, None, xs, washout=40, key=key)
        >>> result.vectors.shape, result.angles().shape
        ((10, 3, 3), (10, 3, 3))
    """
    check_run(cell, state, xs)
    size = StepMap.of(cell).size
    time, *batch = leading_axes(cell.input_shape, xs)
    k = size if k is None else k
    check_directions("covariant_vectors", k, size, time)
    check_count("covariant_vectors", "washout", washout, at_least=0)
    if 2 * washout >= time:
        raise bad_input(
            f"covariant_vectors got washout={washout} for {time} steps.",
            "steps that are left between the washout at the beginning and that at the end.",
            "pass more inputs, or choose a shorter washout.",
        )
    states = initial_states(cell, state, tuple(batch))
    return _of_batch(cell, states, xs, key, k=k, washout=washout, batch_axes=len(batch))


@functools.partial(jax.jit, static_argnames=("k", "washout", "batch_axes"))
def _of_batch(cell, states, xs, key, *, k, washout, batch_axes):
    of_one = functools.partial(_of_sequence, key=key, k=k, washout=washout)
    return vmap_batch(of_one, cell, batch_axes, in_axes=(0, 1), out_axes=1)(states, xs)


def _of_sequence(
    cell: AbstractCell, state: State, xs: PyTree, *, key: PRNGKeyArray, k: int, washout: int
) -> CovariantVectors:
    step_map = StepMap.of(cell)
    end = jax.tree.leaves(xs)[0].shape[0] - washout

    def inputs(start: int, stop: int | None) -> PyTree:
        return jax.tree.map(lambda x: x[start:stop], xs)

    def align(frame: Frame, x: PyTree) -> tuple[Frame, None]:
        return advance(step_map, frame, x)[0], None

    def record(frame: Frame, x: PyTree) -> tuple[Frame, tuple[Array, Array]]:
        frame, R = advance(step_map, frame, x)
        return frame, (frame.Q, R)

    def record_factor(frame: Frame, x: PyTree) -> tuple[Frame, Array]:
        return advance(step_map, frame, x)

    frame, _ = jax.lax.scan(align, random_frame(key, k, step_map, state), inputs(0, washout))
    frame, (Qs, Rs) = jax.lax.scan(record, frame, inputs(washout, end))
    frame, last_Rs = jax.lax.scan(record_factor, frame, inputs(end, None))
    C = jnp.eye(k, dtype=Qs.dtype)
    C, _ = jax.lax.scan(_step_back, C, last_Rs, reverse=True)
    _, (Cs, log_growth) = jax.lax.scan(_step_back, C, Rs, reverse=True)
    return CovariantVectors(Qs @ Cs, log_growth)


def _step_back(
    C: Float[Array, "k k"], R: Float[Array, "k k"]
) -> tuple[Float[Array, "k k"], tuple[Float[Array, "k k"], Float[Array, " k"]]]:
    """C before a step, from C after it; also C after it, and ln of the growth of each vector."""
    diagonal = jnp.diagonal(R)
    least = smallest_growth(R.dtype)
    clamped = jnp.where(jnp.abs(diagonal) < least, least, diagonal)
    R = R + jnp.diag(clamped - diagonal)
    before = jax.lax.linalg.triangular_solve(R, C, left_side=True)
    norms = jnp.linalg.norm(before, axis=0)
    return before / norms, (C, -jnp.log(norms))
