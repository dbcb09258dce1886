"""What a cell holds of every example by itself, beside the parameters that all examples share."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree


class PerExample(eqx.Module):
    """A part of a cell that every example of a batch has its own of: a mask that is drawn once per
    sequence, or the states of an encoder that a decoder attends to.

        cell.part = PerExample(value)        each leaf of value is [*batch, ...]

    `unroll` hands to the cell's functions, in its place, the value of one example without the
    wrapper; so a cell whose part is bare is the same cell with one value for all examples, and for
    a single step of one example the bare value is what it holds. All other leaves are shared, and
    so are their gradients; those of `value` are kept per example, once and not per step. Resets and
    padding do not touch it. `init_state` does not look at it.

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


def is_per_example(node: Any) -> bool:
    return isinstance(node, PerExample)


def parts_of_examples(tree: PyTree) -> list[PerExample]:
    """Every `PerExample` in a tree."""
    return [leaf for leaf in jax.tree.leaves(tree, is_leaf=is_per_example) if is_per_example(leaf)]


def each(
    fn: Callable,
    tree: PyTree,
    batch_axes: int,
    *,
    time: bool = False,
    in_axes: Any = 0,
    out_axes: Any = 0,
) -> Callable:
    """`fn(tree, ...)` of every example, a `PerExample` in `tree` handed to each without wrapper.

    The other arguments and the results are mapped over that many batch axes, which are in front or
    where `in_axes` (one entry per argument) and `out_axes` say, and with `time` over an axis of
    time before them.
    """
    leaves, structure = jax.tree.flatten(tree, is_leaf=is_per_example)

    def one(own: list[PerExample], args: tuple) -> PyTree:
        values = iter(part.value for part in own)
        merged = [next(values) if is_per_example(leaf) else leaf for leaf in leaves]
        return fn(structure.unflatten(merged), *args)

    for _ in range(batch_axes):
        one = jax.vmap(one, in_axes=(0, in_axes), out_axes=out_axes)

    def here(*args: PyTree) -> PyTree:
        return one(parts_of_examples(tree), args)

    return jax.vmap(here) if time else here
