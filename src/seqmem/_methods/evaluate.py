"""From arguments to a solution: lengths, masks and resets become flags of a `Problem`."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree

from .._core.cell import AbstractLayer
from .._core.mesh import leading_spec, mesh_of, num_shares, shardings_of
from .._core.method import AbstractMethod
from .._core.parametrization import evaluate_parametrizations
from .._core.problem import Problem, Solution, State, Stats, StepFlags
from .._core.shapes import leading_axes
from .._core.shard_map import match_varying_axes
from .compaction import Compaction


class Run(NamedTuple):
    """The arguments of `unroll` that hold arrays."""

    cell: AbstractLayer
    state: State | None
    inputs: PyTree
    lengths: Any
    mask: Any
    resets: Any
    perturbations: Any


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4))
def evaluate(
    run: Run, method: AbstractMethod, reverse: bool, return_states: bool, shares: int | None = None
) -> Solution:
    """The solution of checked arguments. It is jitted: called again eagerly, it compiles once.

    Explicit axes of a mesh are made Auto, so that any cell and any method runs on them. Results are
    spread over devices as the inputs are, in time and batch; their features are not.

    Parts of the cell that are computed from parameters are evaluated here, outside of all loops and
    of the backward pass of every method, so that JAX differentiates them once.
    """
    time, *batch = leading_axes(run.cell.input_shape, run.inputs)
    mesh = mesh_of(run)
    if shares is None:
        spec = leading_spec(run.inputs, 1 + len(batch))
        shares = num_shares(mesh, spec, batch)
        if mesh is not None and mesh.explicit_axes:
            of_state, of_steps = shardings_of(mesh, spec)
            evaluate_on_auto_axes: Any = jax.sharding.auto_axes(
                lambda run: evaluate(run, method, reverse, return_states, shares),
                axes=mesh.explicit_axes,
                out_sharding=Solution(of_state, of_steps, of_steps, of_state),
            )
            return evaluate_on_auto_axes(run)
    run = run._replace(cell=evaluate_parametrizations(run.cell))
    compaction = None
    if run.mask is not None:
        compaction = Compaction.of(run.mask, run.lengths)
        run = run._replace(
            lengths=compaction.lengths,
            inputs=compaction.compact(run.inputs),
            resets=compaction.compact(run.resets),
            perturbations=compaction.compact(run.perturbations),
        )
    shard = method.time_shard
    steps = shard.steps(time).reshape(-1, *[1] * len(batch))
    length = shard.total(time)
    padding, inputs, resets = None, run.inputs, run.resets
    if run.lengths is not None:
        length = jnp.clip(run.lengths, 0, length)
        padding = steps >= length
        inputs = _zero_where(padding, inputs)
    if resets is not None:
        resets = jnp.asarray(resets)
        if padding is not None:
            resets = resets & ~padding
        if reverse:  # going back, what separates x[t] from x[t−1] is met before x[t−1]
            resets = shard.earlier(resets)
    step_index = None
    if method.needs_step_index:  # going back, 0 is the last valid step, which is run first
        step_index = (steps + int(reverse)) % jnp.maximum(length, 1)
        step_index = jnp.broadcast_to(step_index, (time, *batch))
    init = run.cell.init_state()
    state = init if run.state is None else run.state
    problem = Problem(
        run.cell,
        init,
        jax.tree.map(functools.partial(_give_batch, batch=tuple(batch)), init, state),
        inputs,
        StepFlags(resets, padding, run.perturbations, step_index),
        batch_axes=len(batch),
        reverse=reverse,
        return_states=return_states,
        shares=shares,
    )
    solution = method.run(match_varying_axes(problem))
    outputs, states = solution.outputs, solution.states
    if padding is not None:
        outputs, states = _zero_where(padding, (outputs, states))
    if compaction is not None:
        outputs, states = compaction.expand((outputs, states))
    return Solution(solution.state, outputs, states, _stats(solution.stats, tuple(batch)))


def _give_batch(init: Array, leaf: Array, *, batch: tuple[int, ...]) -> Array:
    has_batch = leaf.shape[: len(batch)] == batch and leaf.ndim > jnp.ndim(init)
    return leaf if has_batch else jnp.broadcast_to(leaf, batch + leaf.shape)


def _zero_where(padding: Bool[Array, "time *batch"], tree: PyTree) -> PyTree:
    def clear(leaf: Array) -> Array:
        flags = padding.reshape(padding.shape + (1,) * (leaf.ndim - padding.ndim))
        return jnp.where(flags, jnp.zeros_like(leaf), leaf)

    return jax.tree.map(clear, tree)


def _stats(stats: Stats | None, batch: tuple[int, ...]) -> Stats:
    """The statistics of whole sequences, from those of their steps."""
    if stats is None:
        return Stats(jnp.ones(batch, bool), jnp.zeros(batch, jnp.int32))
    return Stats(stats.converged.all(0), stats.iterations.max(0, initial=0))
