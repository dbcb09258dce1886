"""Batches: parts of a cell that differ between examples, and the map of functions over a batch."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree


class PerExample(eqx.Module):
    """A part of a cell that differs between the examples of a batch: a dropout mask that is drawn
    once per sequence, or the encoder states that a decoder attends to.

        cell.part = PerExample(value)        each leaf of value is [*batch, ...]

    `unroll` replaces it by the value of one example when it calls the cell's functions. So a cell
    with a bare value in its place is the same cell with one value for all examples, and a single
    step of one example needs the bare value. All other leaves are shared, and so are their
    gradients; those of `value` are kept per example. Resets and padding do not touch it.
    `init_state` does not depend on it.

    Args:
        value: a tree of arrays with exactly the batch axes of `xs` in front.

    Example:
        >>> import equinox, jax, jax.numpy as jnp, seqmem
        >>> class Masked(seqmem.AbstractCell):
        ...     mask: jax.Array | seqmem.PerExample
        ...     def init_state(self):
        ...         return jnp.zeros(3)
        ...     def project(self, x):
        ...         return self.mask * x
        ...     def update(self, s, u):
        ...         return s + u
        ...     def readout(self, s, u):
        ...         return s
        >>> cell = Masked(seqmem.PerExample(jnp.array([[1.0, 0, 1], [0.0, 1, 1]])))
        >>> state, ys = seqmem.unroll(cell, cell.init_state(), jnp.ones((7, 2, 3)))
        >>> state.tolist()
        [[7.0, 0.0, 7.0], [0.0, 7.0, 7.0]]
    """

    value: PyTree

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a value that is one array, batch axes in front."""
        return self.value.shape


def is_per_example(node: Any) -> bool:
    """Whether a node of a tree differs between examples."""
    return isinstance(node, PerExample)


def per_example_parts(tree: PyTree) -> list[PerExample]:
    """Every `PerExample` in a tree."""
    return [leaf for leaf in jax.tree.leaves(tree, is_leaf=is_per_example) if is_per_example(leaf)]


class Bound(functools.partial):
    """A function with some arguments. JAX 0.10 prints what it maps twice, here without them."""

    def __repr__(self) -> str:
        return "Bound"


def vmap_batch(
    fn: Callable,
    tree: PyTree,
    batch_axes: int,
    *,
    time: bool = False,
    in_axes: Any = 0,
    out_axes: Any = 0,
) -> Callable:
    """`fn(tree, ...)` mapped over the batch axes of its other arguments.

    `fn` gets `tree` without its `PerExample` wrappers.

    Args:
        fn: a function of one example.
        tree: its first argument, shared but for the parts that are `PerExample`.
        batch_axes: how many axes are mapped over.
        time: whether an axis of time in front of them is mapped over too.
        in_axes: where the batch axes stand, one entry per other argument, as for `jax.vmap`.
        out_axes: where the batch axes stand in the results.
    """
    parts = per_example_parts(tree)
    if not parts:
        mapped: Callable = Bound(fn, tree)
        for _ in range(batch_axes):
            mapped = jax.vmap(mapped, in_axes=in_axes, out_axes=out_axes)
        return jax.vmap(mapped) if time else mapped
    leaves, structure = jax.tree.flatten(tree, is_leaf=is_per_example)

    def call_one(parts: list[PerExample], args: tuple) -> PyTree:
        values = iter(part.value for part in parts)
        merged = [next(values) if is_per_example(leaf) else leaf for leaf in leaves]
        return fn(structure.unflatten(merged), *args)

    for _ in range(batch_axes):
        call_one = jax.vmap(call_one, in_axes=(0, in_axes), out_axes=out_axes)

    def call_batch(*args: PyTree) -> PyTree:
        return call_one(parts, args)

    return jax.vmap(call_batch) if time else call_batch


def vmap_axes(fn: Callable, axes: int) -> Callable:
    """`fn` mapped over that many leading axes of all its arguments and results."""
    for _ in range(axes):
        fn = jax.vmap(fn)
    return fn
