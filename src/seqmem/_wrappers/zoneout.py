"""`with_zoneout`: random entries of the state that do not change in a step."""

from typing import ClassVar

import jax
from jaxtyping import Array

from .._core.calls import makes_layer
from .._core.cell import AbstractCell, readout, update
from .wrapper import AbstractWrapper, WrappedCell


def _interpolate(k: Array, old: Array, new: Array) -> Array:
    k = k.astype(old.dtype)
    return k * old + (1 - k) * new


class Zoneout(AbstractWrapper):
    name: ClassVar = "with_zoneout"
    has_new_update = True
    has_new_gates = True

    def input_shape(self, cell):
        one_state = jax.eval_shape(cell.init_state)
        return cell.input_shape, jax.tree.map(lambda leaf: leaf.shape, one_state)

    def project(self, cell, x):
        x, k = x
        return cell.project(x), k

    def update(self, cell, state, drive):
        drive, k = drive
        return jax.tree.map(_interpolate, k, state, update(cell, state, drive))

    def mix(self, cell, state, drive):
        drive, k = drive
        return cell.mix(state, drive), k

    def gate(self, cell, state, z):
        z, k = z
        return jax.tree.map(_interpolate, k, state, cell.gate(state, z))

    def readout(self, cell, state, drive):
        return readout(cell, state, drive[0])


@makes_layer
def with_zoneout(cell: AbstractCell) -> AbstractCell:
    """A cell with zoneout: its inputs are (x, k), where the mask k selects the entries of the state
    that do not change in this step.

        s_t = k_t ∘ s_{t−1} + (1 − k_t) ∘ update(s_{t−1}, project(x_t))

    Every step has a new mask, so the masks are drawn before the run: `k` is a tree like the state,
    each leaf [time, *batch, ...] with values in [0, 1]. In training, draw each leaf by
    `jax.random.bernoulli` at its rate (an LSTM has one rate for h and one for c); at test time,
    pass the rates, which are the expectation of the masks.

    A gated, diagonal or block-diagonal cell keeps its family. A window or fast-weight cell becomes
    unstructured, since its update is another, and runs step by step.

    Source: Krueger et al. 2016, arXiv:1606.01305. Differs: none.

    Args:
        cell: a cell whose state holds real or complex numbers.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.with_zoneout(seqmem.GRU(3, 5, key=jax.random.key(0)))
        >>> xs, shape = jax.numpy.ones((7, 2, 3)), (7, 2, 5)
        >>> masks = jax.random.bernoulli(jax.random.key(1), 0.2, shape).astype(float)
        >>> _, ys = seqmem.unroll(cell, None, (xs, masks))                        # training
        >>> _, ys = seqmem.unroll(cell, None, (xs, jax.numpy.full(shape, 0.2)))   # test time
        >>> ys.shape
        (7, 2, 5)
    """
    return WrappedCell(cell, Zoneout())
