"""A state as one vector of real numbers, with two numbers for a complex entry."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .precision import precision
from .problem import State


class RealRavel(NamedTuple):
    """The map between a state and a vector of its entries, leaf after leaf; of a complex leaf the
    real parts come first, then the imaginary parts.

    It is linear over the real numbers, so an update that is not holomorphic has a Jacobian too.

    Attributes:
        like: one state, or its shapes.
    """

    like: PyTree

    @property
    def size(self) -> int:
        """The length of the vector."""
        return sum(map(_entries, jax.tree.leaves(self.like)))

    def vector(self, state: State) -> Float[Array, " size"]:
        """The vector, in the widest precision among the leaves."""
        dtype = precision(self.like)
        parts = []
        for leaf in jax.tree.leaves(state):
            halves = [leaf.real, leaf.imag] if jnp.iscomplexobj(leaf) else [leaf]
            parts += [half.ravel().astype(dtype) for half in halves]
        return jnp.concatenate(parts)

    def state(self, vector: Float[Array, " size"]) -> State:
        """The inverse of `vector`."""
        leaves, tree = jax.tree.flatten(self.like)
        parts, start = [], 0
        for leaf in leaves:
            part = vector[start : start + _entries(leaf)].astype(jnp.finfo(leaf.dtype).dtype)
            if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
                part = jax.lax.complex(*jnp.split(part, 2))
            parts.append(part.reshape(leaf.shape))
            start += _entries(leaf)
        return jax.tree.unflatten(tree, parts)


def _entries(leaf: Array) -> int:
    return math.prod(leaf.shape) * (2 if jnp.issubdtype(leaf.dtype, jnp.complexfloating) else 1)
