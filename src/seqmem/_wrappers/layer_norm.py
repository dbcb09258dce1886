"""`with_layer_norm`: layer normalisation inside of a gated cell."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._cells.gated.family import GATED
from .._cells.normalisation import layer_norm
from .._core.calls import makes_layer
from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.precision import as_precision, precision, state_dtype
from .._core.problem import Drive
from .._core.shapes import vector_size
from .._core.validation import check_positive
from .wrapper import AbstractWrapper, WrappedCell


def _zeros(cell: Any) -> tuple[PyTree, PyTree]:
    """A state and an input of zeros, in the parameters' precision."""
    zeros = jnp.zeros(cell.input_shape)
    state = jax.tree.map(jnp.zeros_like, cell.init_state())
    return as_precision((state, zeros), precision(cell))


def _linear_part(fn: Callable[[PyTree], PyTree], zeros: PyTree, x: PyTree) -> PyTree:
    """fn(x) − fn(0), for an affine function."""
    return jax.jvp(fn, (zeros,), (x,))[1]


class LayerNormed(AbstractWrapper):
    name: ClassVar = "with_layer_norm"
    has_new_gates = True

    state_gain: PyTree  # g, of the pre-activations from the state
    input_gain: PyTree  # g', of the pre-activations from the input
    eps: float = eqx.field(static=True)

    def normalise(self, gain: Float[Array, "..."], z: Float[Array, "..."]) -> Float[Array, "..."]:
        wide = as_precision(z, state_dtype(z))
        normed = layer_norm(wide.ravel(), self.eps).reshape(z.shape)
        return gain * as_precision(normed, precision(z))

    def project(self, cell: Any, x: PyTree) -> Drive:
        zero_state, zero_input = _zeros(cell)

        def mix_input(x: PyTree) -> PyTree:
            return cell.mix(zero_state, cell.project(x))

        z, biases = _linear_part(mix_input, zero_input, x), mix_input(zero_input)
        return jax.tree.map(lambda g, z, b: self.normalise(g, z) + b, self.input_gain, z, biases)

    def mix(self, cell, state, drive):
        zero_state, zero_input = _zeros(cell)
        biases = cell.project(zero_input)
        return _linear_part(lambda state: cell.mix(state, biases), zero_state, state), drive

    def gate(self, cell, state, z):
        from_state, from_input = z
        normed = jax.tree.map(self.normalise, self.state_gain, from_state)
        return cell.gate(state, jax.tree.map(jnp.add, normed, from_input))


@makes_layer
def with_layer_norm(cell: AbstractCell, *, eps: float = 1e-5) -> AbstractCell:
    """A gated cell with layer normalisation of its pre-activations, those from the state and those
    from the input separately.

        z_t = g ∘ LN(U s_{t−1}) + g' ∘ LN(W x_t) + b
        LN(a) = (a − mean(a)) / √(var(a) + ε)

    U s and W x are the linear parts of `mix` in the state and in the input, and b is the rest: the
    biases of the cell. Mean and variance are over all entries of one array of pre-activations: for
    an LSTM over its four gates, for a GRU over its two gates, and over its candidate alone. The
    gains g and g' are parameters, 1 at the start. The norm of the input is outside of the
    loop.

    Source: Ba, Kiros & Hinton 2016, arXiv:1607.06450, and the authors' program
    (ryankiros/layer-norm), which has ε. Differs: biases are added once, not in each norm; the c of
    an LSTM is not normalised before its output.

    Args:
        cell: a gated cell of vectors whose `input_shape` is known and whose `project` is affine.
        eps: ε, > 0.

    Raises:
        ValueError: for a cell of another family, an input that is not a vector of a known size, or
            an eps that is not above 0.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.with_layer_norm(seqmem.LSTM(3, 5, key=jax.random.key(0)))
        >>> state, ys = seqmem.unroll(cell, None, jax.numpy.ones((7, 3)))
        >>> ys.shape
        (7, 5)
    """
    if cell.family is not GATED or vector_size(cell.input_shape) is None:
        raise bad_input(
            f"with_layer_norm got a {type(cell).__name__}.",
            "a gated cell of vectors of a known size.",
            "use seqmem.layers.LayerNorm before the cell; in a stack, apply it to the cells.",
        )
    check_positive("with_layer_norm", "eps", eps, remedy="leave it out for 1e-5.")
    gated: Any = cell  # which has `mix`
    zero_state, zero_input = _zeros(gated)
    shapes = jax.eval_shape(lambda: gated.mix(zero_state, gated.project(zero_input)))
    ones = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), shapes)
    return WrappedCell(cell, LayerNormed(ones, jax.tree.map(jnp.copy, ones), eps))
