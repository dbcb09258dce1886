"""Micro-batches: one gradient from several smaller batches (gradient accumulation)."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from .._core.errors import bad_input
from .._core.validation import check_count
from ._gradient import AbstractGradient, Carry, Gradient
from ._sums import scan_sums


@dataclasses.dataclass(frozen=True)
class MicroBatched(AbstractGradient):
    """The gradient of a batch from micro-batches, one after another: the same numbers in the memory
    of one micro-batch.

    Totals, weights and gradients are summed and divided once, so a micro-batch counts by its valid
    steps, as in the whole batch. Example i is in micro-batch i mod n: where the batch is sharded
    over devices, every device holds a share of every micro-batch. The first batch axis is split.

    Args:
        gradient: method for one micro-batch.
        micro_batches: n, > 0; divides the batch.

    Raises:
        ValueError: for n below 1, or a batch that n does not divide.

    Example:
        >>> import jax, seqmem
        >>> from seqmem import training
        >>> def loss(cell, state, xs):
        ...     state, ys = seqmem.unroll(cell, state, xs)
        ...     return (ys**2).sum(), ys.size, state
        >>> gradient = training.MicroBatched(training.TruncatedBPTT(loss, window=7), 3)
        >>> cell = seqmem.GRU(3, 5, key=jax.random.key(0))
        >>> result = gradient(cell, cell.init_state(6), jax.numpy.ones((7, 6, 3)))
        >>> result.carry.shape, float(result.weight)                          # 7 · 6 · 5
        ((6, 5), 210.0)
    """

    gradient: AbstractGradient
    micro_batches: int

    def __post_init__(self):
        check_count("MicroBatched", "micro_batches", self.micro_batches)

    def init_carry(self, state, batch, lengths=None) -> Carry:
        return self.gradient.init_carry(state, batch, lengths)

    def state(self, carry):
        return self.gradient.state(carry)

    def batch_axes(self, carry) -> PyTree[int]:
        return self.gradient.batch_axes(carry)

    def __call__(self, model, carry, batch, lengths=None) -> Gradient:
        carry_axes = self.batch_axes(carry)
        axes = carry_axes, jax.tree.map(lambda _: 1, batch), jax.tree.map(lambda _: 0, lengths)
        micro_batches = jax.tree.map(self._split, (carry, batch, lengths), axes)

        def body(_: None, micro_batch: PyTree) -> tuple[None, PyTree, PyTree]:
            result = self.gradient(model, *micro_batch)
            return None, result.sums, (result.carry, result.norms)

        _, (total, weight, grads), (carry, norms) = scan_sums(body, None, micro_batches)
        carry = jax.tree.map(self._merge, carry, carry_axes)
        norms = jax.tree.map(lambda leaf: self._merge(leaf, 1), norms)
        return Gradient(total, weight, grads, carry, norms)

    def _split(self, leaf: Array, axis: int) -> Array:
        """[..., batch, ...] to [micro_batch, ..., batch / n, ...]."""
        count, shape = self.micro_batches, np.shape(leaf)
        if not shape:
            return jnp.broadcast_to(leaf, (count,))
        if len(shape) <= axis or shape[axis] % count:
            raise bad_input(
                f"MicroBatched got an array of shape {shape} for {count} micro-batches.",
                f"a batch axis, axis {axis}, whose size {count} divides.",
                "change the size of the batch, or the number of micro-batches.",
            )
        split = jnp.asarray(leaf).reshape(*shape[:axis], -1, count, *shape[axis + 1 :])
        return jnp.moveaxis(split, axis + 1, 0)

    def _merge(self, leaf: Array, axis: int) -> Array:
        """[micro_batch, ..., batch / n, ...] to [..., batch, ...]."""
        if leaf.ndim == 1:
            return leaf[0]
        split = jnp.moveaxis(leaf, 0, axis + 1)
        return split.reshape(*split.shape[:axis], -1, *split.shape[axis + 2 :])
