"""The maps of the diagonal family: s ↦ a ∘ s + b, or b alone where the stretch begins anew."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ... import _affine
from ..._core.cell import Inputs, Marks, State, probe_values, project, select
from ..._methods.maps import apply, compose, summarise
from ..._core.batching import each
from .base import AbstractDiagonalCell, affine_map


class DiagonalMap(NamedTuple):
    """One leaf of each for every leaf of the state; `cut` is None where nothing can be cut off."""

    a: State
    b: State
    cut: State | None


def map_of_step(init: State, cell: AbstractDiagonalCell, x: PyTree, marks: Marks) -> DiagonalMap:
    """The map of one step, marks included, for one example."""
    a, b = affine_map(cell, project(cell, x, init), init)
    if marks.reset is not None:
        begun = jax.tree.map(lambda a, b, own: a * own + b, a, b, init)
        b = select(marks.reset, begun, b)
    if marks.perturbation is not None:
        b = jax.tree.map(jnp.add, b, probe_values(marks.perturbation))
    a = select(marks.hold, jax.tree.map(jnp.ones_like, a), a)
    b = select(marks.hold, jax.tree.map(jnp.zeros_like, b), b)
    if marks.reset is None:
        return DiagonalMap(a, b, None)
    flag = marks.reset
    return DiagonalMap(a, b, jax.tree.map(lambda leaf: jnp.broadcast_to(flag, leaf.shape), a))


@summarise.register
def _(cell: AbstractDiagonalCell, init: State, inputs: Inputs, *, batch_axes: int, reverse: bool):
    one = each(functools.partial(map_of_step, init), cell, batch_axes)
    first = -1 if reverse else 0
    rest = jax.tree.map(lambda leaf: leaf[:-1] if reverse else leaf[1:], inputs)
    begun = one(*jax.tree.map(lambda leaf: leaf[first], inputs))
    return jax.lax.scan(
        lambda so_far, here: (compose(so_far, one(*here)), None), begun, rest, reverse=reverse
    )[0]


@compose.register
def _(first: DiagonalMap, then: DiagonalMap) -> DiagonalMap:
    joined = [_affine.compose(*both) for both in zip(_leaves(first), _leaves(then), strict=True)]
    return _map_like(first, joined)


@apply.register
def _(map: DiagonalMap, state: State) -> State:
    leaves, structure = jax.tree.flatten(state)
    after = [_affine.apply(*both) for both in zip(_leaves(map), leaves, strict=True)]
    return structure.unflatten(after)


def _leaves(map: DiagonalMap) -> list[_affine.Map]:
    a, b = jax.tree.leaves(map.a), jax.tree.leaves(map.b)
    cut = [None] * len(a) if map.cut is None else jax.tree.leaves(map.cut)
    return list(zip(a, b, cut, strict=True))


def _map_like(map: DiagonalMap, leaves: list[_affine.Map]) -> DiagonalMap:
    structure = jax.tree.structure(map.a)
    a, b, cut = (structure.unflatten(parts) for parts in zip(*leaves, strict=True))
    return DiagonalMap(a, b, None if map.cut is None else cut)
