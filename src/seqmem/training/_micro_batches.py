"""One gradient from several smaller batches."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from .._core.errors import bad_input
from ._checks import check_steps
from ._gradient import AbstractGradient, Carry, Gradient
from ._sums import scan_sums


@dataclasses.dataclass(frozen=True)
class MicroBatched(AbstractGradient):
    """The gradient of a batch, from `micro_batches` parts of it one after another: the same
    numbers in the memory of one part.

    Totals, weights and gradients are summed and divided once, so that parts with fewer valid steps
    count less, as in the whole batch. Example i is in part i mod `micro_batches`: where the batch
    is spread over devices, each holds a share of every part. The first batch axis is cut.

    Args:
        gradient: of one part.
        micro_batches: how many parts; divides the batch.

    Raises:
        ValueError: where the batch does not divide.

    Example:
        >>> import jax, seqmem
        >>> from seqmem import training
        >>> def loss(cell, state, xs):
        ...     state, ys = seqmem.unroll(cell, state, xs)
        ...     return (ys**2).sum(), ys.size, state
        >>> gradient = training.MicroBatched(training.TruncatedBPTT(loss, window=7), micro_batches=3)
        >>> cell = seqmem.GRU(3, 5, key=jax.random.key(0))
        >>> found = gradient(cell, jax.numpy.zeros((6, 5)), jax.numpy.ones((7, 6, 3)))
        >>> found.carry.shape, float(found.weight)                            # 7 · 6 · 5
        ((6, 5), 210.0)
    """

    gradient: AbstractGradient
    micro_batches: int

    def __post_init__(self):
        check_steps(f"MicroBatched(micro_batches={self.micro_batches!r}).", self.micro_batches)

    def begin(self, state, batch, lengths=None) -> Carry:
        return self.gradient.begin(state, batch, lengths)

    def state(self, carry):
        return self.gradient.state(carry)

    def batch_axes(self, carry) -> PyTree[int]:
        return self.gradient.batch_axes(carry)

    def __call__(self, model, carry, batch, lengths=None) -> Gradient:
        axes = self.batch_axes(carry)
        given = (carry, batch, lengths)
        behind_time, in_front = (
            jax.tree.map(lambda _, a=axis: a, tree) for axis, tree in ((1, batch), (0, lengths))
        )
        parts = jax.tree.map(self._split, given, (axes, behind_time, in_front))

        def body(_: None, here: PyTree) -> tuple[None, PyTree, PyTree]:
            found = self.gradient(model, *here)
            return None, found[:3], (found.carry, found.norms)

        _, sums, (carry, norms) = scan_sums(body, None, parts)
        carry = jax.tree.map(self._joined, carry, axes)
        return Gradient(*sums, carry, jax.tree.map(lambda leaf: self._joined(leaf, 1), norms))  # pyright: ignore

    def _split(self, leaf: Array, axis: int) -> Array:
        """[..., batch, ...] to [part, ..., batch / parts, ...]."""
        count, shape = self.micro_batches, np.shape(leaf)
        if not shape:
            return jnp.broadcast_to(leaf, (count,))
        if len(shape) <= axis or shape[axis] % count:
            raise bad_input(
                f"an array of shape {shape} for {count} micro-batches.",
                f"a batch axis, axis {axis}, whose size {count} divides.",
                "change the size of the batch, or the number of micro-batches.",
            )
        apart = jnp.asarray(leaf).reshape(*shape[:axis], -1, count, *shape[axis + 1 :])
        return jnp.moveaxis(apart, axis + 1, 0)

    def _joined(self, leaf: Array, axis: int) -> Array:
        if leaf.ndim == 1:
            return leaf[0]
        beside = jnp.moveaxis(leaf, 0, axis + 1)
        return beside.reshape(*beside.shape[:axis], -1, *beside.shape[axis + 2 :])
