"""Layer normalisation within a recurrence."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._cells.gated.family import GATED
from .._cells.normalisation import layer_norm
from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.precision import as_precision, precision, state_dtype
from .._core.problem import Drive
from .._core.shapes import vector_size
from .wrapper import AbstractWrapper, WrappedCell


def _nothing(cell: Any) -> tuple[PyTree, PyTree]:
    """A state and an input of zeros, in the parameters' precision."""
    zeros = jnp.zeros(cell.input_shape)
    state = jax.tree.map(jnp.zeros_like, cell.init_state())
    return as_precision((state, zeros), precision(cell))


def _linear(fn: Callable[[PyTree], PyTree], at: PyTree, x: PyTree) -> PyTree:
    """What an affine function does to x beside adding a constant."""
    return jax.jvp(fn, (at,), (x,))[1]


class _LayerNorm(AbstractWrapper):
    keeps_gates = False

    state_gain: PyTree  # of the recurrent part of the pre-activations
    input_gain: PyTree  # of the input part
    eps: float = eqx.field(static=True)

    def normed(self, gain: Float[Array, "..."], part: Float[Array, "..."]) -> Float[Array, "..."]:
        wide = as_precision(part, state_dtype(part))
        one = layer_norm(wide.ravel(), self.eps).reshape(part.shape)
        return gain * as_precision(one, precision(part))

    def project(self, cell: Any, x: PyTree) -> Drive:
        no_state, no_input = _nothing(cell)

        def seen(x: PyTree) -> PyTree:
            return cell.mix(no_state, cell.project(x))

        part = _linear(seen, no_input, x)
        biases = seen(no_input)
        return jax.tree.map(lambda g, p, b: self.normed(g, p) + b, self.input_gain, part, biases)

    def mix(self, cell, state, drive):
        no_state, no_input = _nothing(cell)
        own = cell.project(no_input)
        return _linear(lambda state: cell.mix(state, own), no_state, state), drive

    def gate(self, cell, state, z):
        recurrent, seen = z
        normed = jax.tree.map(self.normed, self.state_gain, recurrent)
        return cell.gate(state, jax.tree.map(jnp.add, normed, seen))


def with_layer_norm(cell: AbstractCell, *, eps: float = 1e-5) -> AbstractCell:
    """The same gated cell, of the same family, with what it sees of its state and of its input
    normalised, each by itself, before its gates.

        z_t = g ∘ LN(U s_{t−1}) + g' ∘ LN(W x_t) + b
        LN(a) = (a − mean(a)) / √(var(a) + ε)

    U s and W x are the parts of `mix` that are linear in the state and in the input; b is what it
    adds to them, the cell's own biases. Mean and variance are over all entries of an array of
    pre-activations: over the four gates of an LSTM together, over the two gates of a GRU together
    and its candidate, whose two parts meet within the gate, by itself. The gains g and g' are
    learned, and 1 at the start. The norm of the input is made outside of the loop.

    Source: Ba, Kiros & Hinton 2016, arXiv:1607.06450, and the authors' program
    (ryankiros/layer-norm), which has ε. Differs: biases are added once, not in each norm; c of an
    LSTM is not normalised where it is shown.

    Args:
        cell: a gated cell with an `input_size`, whose `project` is affine.
        eps: ε, > 0.

    Raises:
        ValueError: for a cell of another family, or one that is not of vectors.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.with_layer_norm(seqmem.LSTM(3, 5, key=jax.random.key(0)))
        >>> state, ys = seqmem.unroll(cell, cell.init_state(), jax.numpy.ones((7, 3)))
        >>> ys.shape
        (7, 5)
    """
    if cell.family is not GATED or vector_size(cell.input_shape) is None:
        raise bad_input(
            f"with_layer_norm got a {type(cell).__name__}.",
            "a gated cell of vectors, whose `mix` holds its recurrent weights.",
            "use seqmem.layers.LayerNorm before the cell; in a stack, put the call on the cells.",
        )
    no_state, no_input = _nothing(cell)
    shapes = jax.eval_shape(lambda: cell.mix(no_state, cell.project(no_input)))
    ones = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), shapes)
    return WrappedCell(cell, _LayerNorm(ones, jax.tree.map(jnp.copy, ones), eps))
