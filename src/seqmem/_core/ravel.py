"""A state as one vector of real numbers: a complex entry is two of them."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .precision import precision
from .problem import State


class RealRavel(NamedTuple):
    """The state's entries, leaf after leaf; of a complex leaf the real parts, then the imaginary.

    Linear over the real numbers, so a state that is not complex-affine has a Jacobian in it too.
    """

    like: PyTree  # one state, or its shapes

    @property
    def size(self) -> int:
        """The entries of the vector."""
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
