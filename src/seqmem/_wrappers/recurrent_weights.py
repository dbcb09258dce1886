"""The recurrent weights of a cell, scaled or drawn by another initialiser."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray

from .._cells.spectral_radius import spectral_radius_of
from .._core.calls import makes_layer
from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .wrapper import WrappedCell


@makes_layer
def with_gain(cell: AbstractCell, gain: float) -> AbstractCell:
    """A copy of the cell with its recurrent weights multiplied by a number.

        U ← g U        for every parameter in `cell.recurrent_weights`

    For the weights of one gate, write `with_gate(cell, name, U=g * gate(cell, name).U)`.

    Args:
        cell: a cell with recurrent weights.
        gain: g, a finite number above 0.

    Raises:
        ValueError: for another number, a cell without recurrent weights, or weights that are no
            array, such as a structured matrix.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.LSTM(3, 5, key=jax.random.key(0))
        >>> bool((seqmem.with_gain(cell, 2.0).U == 2 * cell.U).all())
        True
    """
    check_scale("with_gain", "gain", gain)
    return _with_each("with_gain", cell, lambda _, name, U: U * jnp.asarray(gain, U.dtype))


@makes_layer
def with_spectral_radius(cell: AbstractCell, radius: float) -> AbstractCell:
    """A copy of the cell with its recurrent matrices scaled to a spectral radius, that of each gate
    by itself.

        U_k ← U_k ρ / max |λ_i(U_k)|        for each gate k

    λ_i are the eigenvalues. A random matrix of variance g²/N has the radius g for N → ∞, and an
    orthogonal one 1.

    Args:
        cell: a cell of vectors with square recurrent matrices.
        radius: ρ, a finite number above 0.

    Raises:
        ValueError: for another number, a cell without recurrent matrices, matrices that are not
            square or no array, such as a structured matrix, and a matrix whose eigenvalues are
            all 0.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> cell = seqmem.with_spectral_radius(seqmem.GRU(3, 5, key=jax.random.key(0)), 0.9)
        >>> bool(jnp.allclose(abs(jnp.linalg.eigvals(cell.U)).max(1), 0.9, atol=1e-4))
        True
    """
    owner = "with_spectral_radius"
    check_scale(owner, "radius", radius)

    def scale(cell: AbstractCell, name: str, U: Array) -> Array:
        _check_matrices(owner, cell, name, U)
        if U.shape[-1] != U.shape[-2]:
            raise bad_input(
                f"{owner} got a {type(cell).__name__} whose {name} has the shape {U.shape}.",
                "square matrices: others have no eigenvalues.",
                "scale its weights by seqmem.with_gain.",
            )
        blocks = U.reshape(-1, *U.shape[-2:])
        radii = jax.vmap(spectral_radius_of)(blocks)
        if not isinstance(radii, Tracer) and not (radii > 0).all():
            raise bad_input(
                f"{owner} got a {type(cell).__name__} whose {name} has only eigenvalues of 0.",
                "recurrent matrices with a spectral radius above 0.",
                "draw the matrices by seqmem.with_recurrent_weights.",
            )
        factors = (jnp.asarray(radius, U.dtype) / radii).reshape(*U.shape[:-2], 1, 1)
        return U * factors.astype(U.dtype)

    return _with_each(owner, cell, scale)


@makes_layer
def with_recurrent_weights(
    cell: AbstractCell, initialiser: Callable[..., Array], *, key: PRNGKeyArray
) -> AbstractCell:
    """A copy of the cell whose recurrent matrices are drawn by an initialiser, each gate by itself.

    `jax.nn.initializers` has the usual ones: `orthogonal(scale)`, `glorot_normal()`,
    `variance_scaling(g**2, "fan_in", "normal")`, a Gaussian of variance g²/columns. The identity
    (IRNN) is `lambda key, shape, dtype: jnp.eye(*shape, dtype=dtype)`.

    Source of the identity: Le, Jaitly & Hinton 2015, arXiv:1504.00941, for an RNN of ReLU.

    Args:
        cell: a cell of vectors with recurrent matrices.
        initialiser: a function of a key, the shape and the dtype of one matrix. The shape is
            (columns, rows), as JAX counts the fan-in in the first of two axes, and the result is
            transposed.
        key: random key for the matrices.

    Raises:
        ValueError: for a cell without recurrent matrices, matrices that are no array, such as a
            structured matrix, or an initialiser that is no function or returns another shape.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.GRU(3, 5, key=jax.random.key(0))
        >>> glorot = jax.nn.initializers.glorot_normal()
        >>> seqmem.with_recurrent_weights(cell, glorot, key=jax.random.key(1)).U.shape
        (3, 5, 5)
    """
    owner = "with_recurrent_weights"
    if not callable(initialiser):
        raise bad_input(
            f"{owner} got initialiser={initialiser!r}.",
            "a function of a key, a shape and a dtype.",
            "pass one of jax.nn.initializers, such as orthogonal().",
        )

    def draw(cell: AbstractCell, name: str, U: Array) -> Array:
        _check_matrices(owner, cell, name, U)
        *gates, rows, columns = U.shape
        matrix_key = jax.random.fold_in(key, cell.recurrent_weights.index(name))
        keys = jax.random.split(matrix_key, math.prod(gates))
        drawn = jnp.stack([initialiser(k, (columns, rows), U.dtype) for k in keys])
        if drawn.shape[1:] != (columns, rows):
            raise bad_input(
                f"{owner} got an initialiser that returned the shape {drawn.shape[1:]}.",
                f"the shape that it was asked for, {(columns, rows)}.",
                "pass one of jax.nn.initializers, such as orthogonal().",
            )
        return drawn.mT.reshape(U.shape).astype(U.dtype)

    return _with_each(owner, cell, draw)


def check_scale(owner: str, name: str, value: Any) -> None:
    """Refuse a number that is not finite or not above 0; traced ones are not looked at.

    Raises:
        ValueError: for such a number.
    """
    if not isinstance(value, Tracer) and not 0 < value < math.inf:
        raise bad_input(
            f"{owner} got {name}={value!r}.",
            "a finite number above 0.",
            "pass such a number; 1 is a common choice.",
        )


def _with_each(
    owner: str,
    cell: AbstractCell,
    change: Callable[[AbstractCell, str, Array], Float[Array, "..."]],
) -> AbstractCell:
    """The cell with `change(cell, name, weights)` in place of each of its recurrent weights."""
    if isinstance(cell, WrappedCell):
        inner = _with_each(owner, cell.cell, change)
        return eqx.tree_at(lambda tree: tree.cell, cell, inner)
    if not cell.recurrent_weights:
        raise bad_input(
            f"{owner} got a {type(cell).__name__}, which names no recurrent weights.",
            "a cell with a class attribute recurrent_weights, such as ('U',).",
            "name the parameters that multiply the state; in a network, apply it to the cells.",
        )
    for name in cell.recurrent_weights:
        weights = getattr(cell, name)
        if not eqx.is_inexact_array(weights):
            raise bad_input(
                f"{owner} got a {type(cell).__name__} whose {name} is a {type(weights).__name__}.",
                "recurrent weights that are an array: of a structured matrix the entries are no "
                "parameters.",
                "choose the structure and its options when the cell is made.",
            )
        changed = change(cell, name, weights)
        cell = eqx.tree_at(lambda tree, name=name: getattr(tree, name), cell, changed)
    return cell


def _check_matrices(owner: str, cell: AbstractCell, name: str, weights: Array) -> None:
    """Refuse weights per unit, which have small letters for names, and filters of images."""
    states = jax.tree.leaves(jax.eval_shape(lambda cell: cell.init_state(), cell))
    has_vectors = all(leaf.ndim == 1 for leaf in states)
    if weights.ndim < 2 or name.islower() or not has_vectors:
        raise bad_input(
            f"{owner} got a {type(cell).__name__}, whose {name} of shape {weights.shape} is no "
            "matrix.",
            "recurrent matrices that multiply a vector, one for each gate.",
            "scale its weights by seqmem.with_gain.",
        )
