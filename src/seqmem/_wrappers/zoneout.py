"""Entries of the state that stay as they are for a step."""

import jax
from jaxtyping import Array

from .._core.cell import AbstractCell, readout, update
from .wrapper import AbstractWrapper, WrappedCell


def _between(kept: Array, old: Array, new: Array) -> Array:
    kept = kept.astype(old.dtype)
    return kept * old + (1 - kept) * new


class _Zoneout(AbstractWrapper):
    changes_update = True
    keeps_gates = False

    def input_shape(self, cell):
        one_state = jax.eval_shape(cell.init_state)
        return cell.input_shape, jax.tree.map(lambda leaf: leaf.shape, one_state)

    def project(self, cell, x):
        x, kept = x
        return cell.project(x), kept

    def update(self, cell, state, drive):
        drive, kept = drive
        return jax.tree.map(_between, kept, state, update(cell, state, drive))

    def mix(self, cell, state, drive):
        drive, kept = drive
        return cell.mix(state, drive), kept

    def gate(self, cell, state, z):
        z, kept = z
        return jax.tree.map(_between, kept, state, cell.gate(state, z))

    def readout(self, cell, state, drive):
        return readout(cell, state, drive[0])


def with_zoneout(cell: AbstractCell) -> AbstractCell:
    """The same cell, whose inputs (x, kept) also say which entries of the state stay as they are.

        s_t = k_t ∘ s_{t−1} + (1 − k_t) ∘ update(s_{t−1}, project(x_t))

    What stays differs from step to step, so it is drawn outside of the loop and comes in with the
    inputs: `kept` is a tree like the state, each leaf [time, *batch, ...] of numbers in [0, 1],
    drawn in training by `jax.random.bernoulli` at each leaf's own rate. Testing takes the rates
    themselves, which is the expectation. An LSTM's h and c have a rate each.

    A gated or diagonal cell stays of its family; a window or fast weights with entries that stay
    are none any more, and run step by step.

    Source: Krueger et al. 2016, arXiv:1606.01305. Differs: none.

    Args:
        cell: the cell; its state holds real or complex numbers.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.with_zoneout(seqmem.GRU(3, 5, key=jax.random.key(0)))
        >>> xs, shape = jax.numpy.ones((7, 2, 3)), (7, 2, 5)
        >>> kept = jax.random.bernoulli(jax.random.key(1), 0.2, shape).astype(float)
        >>> _, ys = seqmem.unroll(cell, cell.init_state(), (xs, kept))          # in training
        >>> kept = jax.numpy.full(shape, 0.2)
        >>> _, ys = seqmem.unroll(cell, cell.init_state(), (xs, kept))          # in testing
        >>> ys.shape
        (7, 2, 5)
    """
    return WrappedCell(cell, _Zoneout())
