"""Lyapunov exponents along a driven trajectory, without a Jacobian in memory."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._core.arguments import check_run
from .._core.batching import vmap_batch
from .._core.cell import AbstractCell
from .._core.problem import State
from .._core.shapes import leading_axes
from .._core.validation import check_count
from ._step_map import StepMap
from ._tangent_frame import Frame, advance, check_directions, random_frame
from ._trajectory import initial_states


class LyapunovExponents(NamedTuple):
    """The result of `lyapunov_exponents`.

    Attributes:
        exponents: in nats per step, in the order of the directions.
        standard_errors: of the exponents, from the means of the chunks; NaN with fewer than two.
        participation: the share of the state's entries that take part in a direction, in [1/n, 1].
        state: the state after the last step.
    """

    exponents: Float[Array, "*batch k"]
    standard_errors: Float[Array, "*batch k"]
    participation: Float[Array, "*batch k"]
    state: State


def lyapunov_exponents(
    cell: AbstractCell,
    state: State | None,
    xs: PyTree,
    *,
    k: int | None = None,
    chunk_size: int = 1000,
    key: PRNGKeyArray,
) -> LyapunovExponents:
    """The rates at which small differences between states grow, along a trajectory driven by `xs`.

        Q_t R_t = J_t Q_{t−1},    λ_i = (1/T) Σ_t ln |R_t,ii|,    J_t = ∂s_t/∂s_{t−1}

    The columns of Q are k orthonormal directions. `jax.jvp` multiplies them by J_t, and a QR
    decomposition makes them orthonormal again after every step. These are conditional exponents:
    the inputs are the same for all states. The sum of all k = n exponents is the mean of
    ln |det J_t|. The largest is above 0 where the network is chaotic, and e^λ is the factor per
    step by which a gradient over a long time grows or decays. Neither Jacobians nor arrays over
    time are stored. With the same key, the directions for a smaller k are the first of those for a
    larger one.

    A direction that a step maps to 0, such as a ReLU unit that is off, has the exponent −∞.
    Rounding may show −∞ as about ln ε per step, −16 in float32 and −36 in float64, so exponents
    that far below the largest ones are noise.

    The participation of direction i is the mean of 1 / (n Σ_j q_ij⁴): 1 where all n entries have
    the same modulus, 1/n where only one is not 0.

    Cost per step: k forward derivatives of a step and a QR decomposition of an n × k matrix.
    Source: Benettin, Galgani, Giorgilli & Strelcyn 1980, Meccanica 15, doi:10.1007/BF02128236; for
    recurrent networks Engelken, Wolf & Abbott 2023, doi:10.1103/PhysRevResearch.5.043044.

    Args:
        cell: the cell, with a state of n real floating point entries.
        state: the state before the first step; None is `cell.init_state()`. Steps before the
            trajectory reaches its attractor count too: pass the final state of an earlier run.
            The directions need time to align as well, an error of order 1/T that an earlier run
            does not remove.
        xs: the inputs, [time, *batch, ...]; for a map without input, arrays of size 0.
        k: how many of the leading exponents; None is all n.
        chunk_size: steps whose mean is one sample for the standard errors, >= 1. Samples are
            independent where it is longer than the memory of the process; float32 loses digits
            where it is above about 10⁴. Steps after the last full chunk count for the exponents,
            not for the standard errors.
        key: random key for the first directions.

    Raises:
        ValueError: for k outside of 1 … n, a chunk size below 1, no step, or a state that is
            complex or has no floating point entry.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> cell = seqmem.RNN(1, 3, activation=lambda z: z, key=jax.random.key(0))  # U orthogonal
        >>> result = seqmem.dynamics.lyapunov_exponents(
        ...     cell, None, jnp.zeros((50, 1)), key=jax.random.key(1)
        ... )
        >>> bool(jnp.allclose(result.exponents, 0, atol=1e-5))
        True
    """
    check_run(cell, state, xs)
    size = StepMap.of(cell).size
    time, *batch = leading_axes(cell.input_shape, xs)
    k = size if k is None else k
    check_directions("lyapunov_exponents", k, size, time)
    check_count("lyapunov_exponents", "chunk_size", chunk_size, remedy="leave it out for 1000.")
    states = initial_states(cell, state, tuple(batch))
    return _of_batch(cell, states, xs, key, k=k, chunk_size=chunk_size, batch_axes=len(batch))


@functools.partial(jax.jit, static_argnames=("k", "chunk_size", "batch_axes"))
def _of_batch(cell, states, xs, key, *, k, chunk_size, batch_axes):
    of_one = functools.partial(_of_sequence, key=key, k=k, chunk_size=chunk_size)
    return vmap_batch(of_one, cell, batch_axes, in_axes=(0, 1))(states, xs)


class Sums(NamedTuple):
    """Sums over steps, one entry per direction."""

    log_growth: Float[Array, " k"]
    participation: Float[Array, " k"]


def _of_sequence(
    cell: AbstractCell, state: State, xs: PyTree, *, key: PRNGKeyArray, k: int, chunk_size: int
) -> LyapunovExponents:
    """The exponents of one sequence. Sums start at 0 in each chunk, so that they stay accurate."""
    step_map = StepMap.of(cell)
    time = jax.tree.leaves(xs)[0].shape[0]
    frame, sums, rest = sums_of_chunks(
        step_map, random_frame(key, k, step_map, state), xs, chunk_size
    )
    frame, rest_sums = run_chunk(step_map, frame, rest)
    means = jax.tree.map(lambda sum_, rest: (sum_.sum(0) + rest) / time, sums, rest_sums)
    errors = _standard_errors(sums.log_growth / chunk_size)
    return LyapunovExponents(means.log_growth, errors, means.participation, frame.state)


def sums_of_chunks(
    step_map: StepMap, frame: Frame, xs: PyTree, chunk_size: int
) -> tuple[Frame, Sums, PyTree]:
    """The sums of every full chunk, [chunk, k], and the inputs of the steps after them."""
    time = jax.tree.leaves(xs)[0].shape[0]
    num_chunks = time // chunk_size

    def step(frame: Frame, index: Array) -> tuple[Frame, Sums]:
        def inputs(x: Array) -> Array:  # sliced here: chunks of all inputs would be a copy of them
            return jax.lax.dynamic_slice_in_dim(x, index * chunk_size, min(chunk_size, time))

        return run_chunk(step_map, frame, jax.tree.map(inputs, xs))

    frame, sums = jax.lax.scan(step, frame, jnp.arange(num_chunks))
    return frame, sums, jax.tree.map(lambda x: x[num_chunks * chunk_size :], xs)


def run_chunk(step_map: StepMap, frame: Frame, xs: PyTree) -> tuple[Frame, Sums]:
    """The frame after the steps of a chunk, and their sums."""

    def step(carry: tuple[Frame, Sums], x: PyTree) -> tuple[tuple[Frame, Sums], None]:
        frame, sums = carry
        frame, R = advance(step_map, frame, x)
        participation = 1 / (step_map.size * (frame.Q**4).sum(0))
        log_growth = jnp.log(jnp.abs(jnp.diagonal(R)))
        return (frame, Sums(sums.log_growth + log_growth, sums.participation + participation)), None

    zeros = jnp.zeros(frame.Q.shape[1], frame.Q.dtype)
    (frame, sums), _ = jax.lax.scan(step, (frame, Sums(zeros, zeros)), xs)
    return frame, sums


def _standard_errors(means: Float[Array, "chunk k"]) -> Float[Array, " k"]:
    """Standard errors of the mean over chunks; NaN with fewer than two of them."""
    num_chunks = len(means)
    if num_chunks < 2:
        return jnp.full(means.shape[1:], jnp.nan, means.dtype)
    return means.std(0, ddof=1) / num_chunks**0.5
