"""The forward pass of `Scan`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..._core.batching import vmap_batch
from ..._core.cell import AbstractCell
from ..._core.perturbations import ZeroPerturbations
from ..._core.platform import current_platform
from ..._core.problem import Drive, Problem, State, StepFlags
from ..._core.step import apply_padding, apply_reset
from ..._core.vjp_rule import AbstractVJPRule, TileSizes
from ..readouts import drives_of
from ..segments import scan_segments, segment_size
from .vjp_rules import PlainRule

PLAIN_RULE = PlainRule()
LONG_TILE = 16  # steps whose projection is a large product, which is fast in any layout


def rule_of(cell: AbstractCell) -> AbstractVJPRule:
    """How the family of a cell takes its update apart."""
    return cell.family.vjp_rule or PLAIN_RULE


def tile_sizes_of(problem: Problem) -> TileSizes:
    """How many steps are taken together, for the share of the batch that a device has."""
    leaves = jax.tree.leaves(problem.init)
    entries = sum(jnp.size(leaf) * (1 + jnp.iscomplexobj(leaf)) for leaf in leaves)
    return rule_of(problem.cell).tile_sizes(
        problem.examples_per_device, entries, current_platform()
    )


def run_forward(
    problem: Problem, emit: Callable[[State, PyTree, PyTree], PyTree]
) -> tuple[State, PyTree]:
    """The final state, and `emit(states, saved, inputs)` of every tile, over all of time.

    `states` are those after each step of the tile, `saved` what the rule's `prepare` returned.
    """
    sizes = tile_sizes_of(problem)
    rule, init, axes = rule_of(problem.cell), problem.init, problem.batch_axes
    is_long = sizes.forward >= LONG_TILE
    weights = problem.cell if is_long else transpose_matrices(problem.cell)
    adds_zeros = isinstance(problem.flags.perturbation, ZeroPerturbations)

    def step(cell: AbstractCell, state: State, xs: tuple[Drive, StepFlags]) -> tuple[State, Any]:
        drive, flags = xs
        start = apply_reset(init, state, flags)
        saved = rule.prepare(cell, start, drive)
        state = apply_padding(state, rule.finish(cell, start, saved), flags)
        if sizes.separates_steps:
            state = jax.lax.optimization_barrier(state)
        return state, (state, saved)

    def tile(state: State, segment: tuple) -> tuple[State, PyTree]:
        (inputs, flags), _ = segment
        cell = weights if is_long else restore_matrices(weights)
        drives = drives_of(cell, state, inputs, axes)
        flags = flags._replace(perturbation=None) if adds_zeros else flags
        state, (states, saved) = jax.lax.scan(
            vmap_batch(step, cell, axes),
            state,
            (drives, flags),
            reverse=problem.reverse,
            unroll=sizes.unroll,
        )
        return state, emit(states, saved, inputs)

    size = segment_size(problem.time, sizes.forward)
    return scan_segments(tile, problem.state, problem.steps, size, reverse=problem.reverse)


def transpose_matrices(weights: PyTree) -> PyTree:
    """`weights` with the last axis of the matrices, over which a product sums, moved to the front.

    For use outside of a loop: `restore_matrices` inside of it then cancels against the transpose in
    `h @ U.mT`, and each step's product reads its matrix row by row, which is 1.2 to 1.4 times
    faster on a CPU. The leaves with the most axes are taken to be the matrices; a wrong guess
    affects speed, not results.

    The barrier keeps XLA from moving the transposition back into the loop, as jaxlib 0.12 does.
    """
    return jax.lax.optimization_barrier(_move_matrices(weights, -1, 0))


def restore_matrices(transposed: PyTree) -> PyTree:
    """The inverse of `transpose_matrices`."""
    return _move_matrices(transposed, 0, -1)


def _move_matrices(weights: PyTree, source: int, destination: int) -> PyTree:
    axes = max([2, *(jnp.ndim(leaf) for leaf in jax.tree.leaves(weights))])
    return jax.tree.map(
        lambda leaf: jnp.moveaxis(leaf, source, destination) if jnp.ndim(leaf) == axes else leaf,
        weights,
    )
