"""The parameters of a cell as real arrays, so that real derivatives cover complex ones too."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._core.cell import AbstractCell
from .._core.precision import keep_inexact, split_inexact


def real_parameters(cell: AbstractCell) -> list[Array]:
    """The inexact arrays of a cell; a complex one is two, its real and its imaginary part."""
    return [part for leaf in jax.tree.leaves(keep_inexact(cell)) for part in _real_parts(leaf)]


def with_real_parameters(cell: AbstractCell, parameters: list[Array]) -> AbstractCell:
    """The cell with other parameters: the inverse of `real_parameters`."""
    differentiable, constant = split_inexact(cell)
    leaves, structure = jax.tree.flatten(differentiable)
    remaining = iter(parameters)
    new_leaves = [
        jax.lax.complex(next(remaining), next(remaining))
        if jnp.iscomplexobj(leaf)
        else next(remaining)
        for leaf in leaves
    ]
    return eqx.combine(structure.unflatten(new_leaves), constant)


def as_gradient(cell: AbstractCell, derivatives: list[Array]) -> AbstractCell:
    """A gradient as `jax.grad` returns it, from the derivatives by each real parameter.

    JAX's gradient of a complex parameter is ∂L/∂Re − i ∂L/∂Im, which the transpose of
    `real_parameters` is by definition.
    """
    (gradient,) = jax.vjp(real_parameters, keep_inexact(cell))[1](derivatives)
    return gradient


def real_leaves(cell: AbstractCell) -> list[int]:
    """For each real parameter, which of the cell's inexact arrays it belongs to."""
    leaves = jax.tree.leaves(keep_inexact(cell))
    return [index for index, leaf in enumerate(leaves) for _ in _real_parts(leaf)]


def _real_parts(leaf: Array) -> list[Array]:
    return [leaf.real, leaf.imag] if jnp.iscomplexobj(leaf) else [leaf]
