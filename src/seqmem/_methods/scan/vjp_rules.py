"""The rule for any cell, and what the rules of several families share."""

import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax
from jaxtyping import PyTree

from ..._core.batching import vmap_batch
from ..._core.cell import AbstractCell, project, update
from ..._core.platform import Platform
from ..._core.precision import keep_inexact, split_inexact
from ..._core.problem import State
from ..._core.vjp_rule import AbstractVJPRule, BackwardTile, TileSizes


@dataclasses.dataclass(frozen=True)
class PlainRule(AbstractVJPRule):
    """For any cell: the backward loop linearises each step by itself."""

    saves_prepared = False

    def tile_sizes(self, batch, entries, platform):
        return tiles_of_products(batch, entries, platform)

    def prepare(self, cell, state, drive, /):
        return drive

    def finish(self, cell, state, saved, /):
        return update(cell, state, saved)

    def linearise(self, tile):
        def pull(step, d_state):
            state, drive = step
            differentiable, constant = split_inexact(state)

            def advance(differentiable):
                state = eqx.combine(differentiable, constant)
                return keep_inexact(vmap_batch(update, tile.cell, tile.batch_axes)(state, drive))

            return jax.vjp(advance, differentiable)[1](d_state)[0], None

        return (tile.states, tile.saved), pull

    def pull_to_inputs(self, tile, d_states, pulled):
        return pull_through_updates(tile, d_states)


def tiles_of_products(batch: int, entries: int, platform: Platform) -> TileSizes:
    """For cells with a product per step: few unrolled steps forward, so that their projection stays
    in the cache, and one where the states of a batch have 2¹⁶ entries; for the products of the
    backward pass 512 rows of steps × batch, or as many as make 2¹⁶ entries of the state, if these
    are more.
    """
    if platform != "cpu":
        return tiles_of_launches(batch, platform)
    forward = 4 if batch * entries < 2**16 else 1
    rows = max(512, 2**16 // max(1, entries))
    return TileSizes(forward, forward, min(max(1, rows // max(1, batch)), 128))


def tiles_of_launches(batch: int, platform: Platform) -> TileSizes:
    """For cells with a product per step on accelerators, where a step takes as long as its
    operations take to be launched: unrolled steps in both directions, which XLA makes fewer
    operations of, and backward tiles of 2¹¹ rows of steps × batch, but 32 to 256 steps. On TPU 2⁹
    rows: its compiler takes long over large products.
    """
    steps = (2**9 if platform == "tpu" else 2**11) // max(1, batch)
    return TileSizes(8, 8, min(max(32, steps), 256), 8, separates_steps=True)


def tiles_of_entries(batch: int, entries: int, platform: Platform) -> TileSizes:
    """For elementwise cells: as many steps as make 2¹⁸ entries of the state, for which XLA uses all
    cores, in a loop of single steps. Unrolled, their transcendental functions would be computed
    again for each step. On accelerators 2²² entries, and 16 unrolled steps become one operation.
    """
    if platform != "cpu":
        steps = max(16, 2**22 // max(1, batch * entries))
        return TileSizes(steps, 16, steps, 16)
    steps = max(16, 2**18 // max(1, batch * entries))
    return TileSizes(steps, 1, steps)


def pull_through_updates(tile: BackwardTile, d_states: State) -> tuple[PyTree, PyTree]:
    """The cotangents of the parameters and the inputs, from those of the updated states."""

    def updates(cell: AbstractCell, inputs: PyTree) -> State:
        def step(cell: AbstractCell, state: State, x: PyTree) -> State:
            return keep_inexact(update(cell, state, project(cell, x, state)))

        return vmap_batch(step, cell, tile.batch_axes, time=True)(tile.states, inputs)

    return pull_to(updates, d_states, tile.cell, tile.inputs)


def pull_to(fn: Callable, d_result: PyTree, *args: PyTree) -> tuple[PyTree, ...]:
    """The cotangents of the differentiable parts of `args`, from one of `fn(*args)`."""
    differentiable, constant = split_inexact(args)

    def call(*differentiable: PyTree) -> PyTree:
        return fn(*eqx.combine(differentiable, constant))

    return jax.vjp(call, *differentiable)[1](d_result)
