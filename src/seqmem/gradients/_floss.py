"""Gradient flossing: a loss that moves Lyapunov exponents to a target."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, PyTree

from .._core.arguments import check_run
from .._core.batching import vmap_batch
from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.problem import State
from .._core.shapes import leading_axes
from .._core.validation import check_count
from .._methods.segments import scan_segments, segment_size
from ..dynamics._step_map import StepMap
from ..dynamics._tangent_frame import (
    Frame,
    advance,
    check_directions,
    random_frame,
    smallest_growth,
)
from ..dynamics._trajectory import initial_states


def floss(
    cell: AbstractCell,
    state: State | None,
    xs: PyTree,
    *,
    k: int,
    target: Float[ArrayLike, ""] | Float[ArrayLike, " k"] = 0.0,
    washout: int = 0,
    key: PRNGKeyArray,
) -> Float[Array, ""]:
    """The loss of gradient flossing: squared distances of the k leading exponents from a target.

        L = Σ_i (λ_i − target_i)²,    λ_i = (1/(T − washout)) Σ_{t > washout} ln |R_t,ii|

    R_t are those of `dynamics.lyapunov_exponents`. With the target 0, gradients along k directions
    neither vanish nor explode over T steps. `jax.grad` with respect to the cell gives the exact
    derivative, through the states, their Jacobians and the QR decompositions. It is the mean over
    the batch. `training.floss_steps` and `training.with_flossing` minimise it before and during
    training.

    |R_ii| counts as at least 100 ε (1e-5 in float32, 2e-14 in float64), and has no derivative below
    that: a direction that a step maps to 0, such as a ReLU unit that is off, adds a constant.

    In a chaotic network the derivative grows like e^(λ_1 T): it is that of one trajectory, and no
    descent direction. An optimiser that makes the recurrent weights decay takes the network out of
    chaos first: `benchmarks.studies.flossing` does so.

    Cost: about three times a run of `dynamics.lyapunov_exponents`. Memory of the gradient: that of
    about √T steps and √T frames of n × k, since segments of √T steps are computed again.
    Source: Engelken 2023, "Gradient flossing", NeurIPS, arXiv:2312.17306, and its program,
    github.com/RainerEngelken/GradientFlossing; of the paper the abstract was read. Differs: a sum
    over the exponents, where the program takes a mean; targets and batches.

    Args:
        cell: the cell, with a state of n real floating point entries; differentiate with respect to
            it.
        state: the state before the first step; None is `cell.init_state()`.
        xs: the inputs, [time, *batch, ...], such as those of the task or noise.
        k: how many of the leading exponents.
        target: of all exponents, or of each.
        washout: steps at the beginning that do not count, in which the directions align and the
            state forgets where it began. Without it the exponents are off by the order of 1/T.
        key: random key for the first directions.

    Raises:
        ValueError: for k outside of 1 … n, a washout that leaves no step, a target of another
            shape, or a state that is complex or has no floating point entry.

    Example:
        >>> import jax, seqmem
        >>> from seqmem import gradients
        >>> cell = seqmem.RNN(2, 7, key=jax.random.key(0))
        >>> xs = jax.random.normal(jax.random.key(1), (50, 3, 2))  # 3 sequences
        >>> grads = jax.grad(gradients.floss)(cell, None, xs, k=5, key=jax.random.key(2))
        >>> grads.U.shape
        (7, 7)
    """
    check_run(cell, state, xs)
    size = StepMap.of(cell).size
    time, *batch = leading_axes(cell.input_shape, xs)
    check_directions("floss", k, size, time)
    check_count("floss", "washout", washout, at_least=0, remedy="leave it out.")
    if washout >= time:
        raise bad_input(
            f"floss got washout={washout} for {time} steps.",
            "a washout shorter than the time.",
            "pass more inputs, or choose a shorter washout.",
        )
    if jnp.shape(target) not in ((), (k,)):
        raise bad_input(
            f"floss got a target of shape {jnp.shape(target)}.",
            f"one number, or one for each of the {k} exponents.",
            "pass 0.0, or an array of k numbers.",
        )
    states = initial_states(cell, state, tuple(batch))
    exponents = _exponents(cell, states, xs, key, k=k, washout=washout, batch_axes=len(batch))
    return jnp.square(exponents - jnp.asarray(target, exponents.dtype)).sum(-1).mean()


@functools.partial(jax.jit, static_argnames=("k", "washout", "batch_axes"))
def _exponents(cell, states, xs, key, *, k, washout, batch_axes):
    """The exponents of each example, [*batch, k]."""

    def of_one(cell: AbstractCell, state: State, xs: PyTree) -> Float[Array, " k"]:
        step_map = StepMap.of(cell)
        time = jax.tree.leaves(xs)[0].shape[0]
        frame = random_frame(key, k, step_map, state)
        zeros = jnp.zeros(k, frame.Q.dtype)
        least = smallest_growth(zeros.dtype)

        def step(carry: tuple[Frame, Array], x_and_index: tuple) -> tuple[tuple, None]:
            (frame, log_growth), (x, step_index) = carry, x_and_index
            frame, R = advance(step_map, frame, x)
            growth = jnp.maximum(jnp.abs(jnp.diagonal(R)), least)
            log_growth += jnp.where(step_index >= washout, jnp.log(growth), 0)
            return (frame, log_growth), None

        @jax.checkpoint
        def segment(carry: tuple[Frame, Array], segment: tuple) -> tuple[tuple, None]:
            frame, log_growth = carry
            (frame, of_segment), _ = jax.lax.scan(step, (frame, zeros), segment[0])
            return (frame, log_growth + of_segment), None

        steps = (xs, jnp.arange(time))
        size = segment_size(time, max(1, round(time**0.5)))
        (_, log_growth), _ = scan_segments(segment, (frame, zeros), steps, size)
        return log_growth / (time - washout)

    return vmap_batch(of_one, cell, batch_axes, in_axes=(0, 1))(states, xs)
