"""The carry of truncated BPTT whose windows overlap: the strides that the next window repeats."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from .._core.problem import State
from .._core.step import select


class PastStrides(eqx.Module):
    """The strides before the current one, for running them again.

    In the first calls, fewer strides have passed than there are slots. The empty slots come first
    and hold copies of a batch; `rerun` evaluates them and discards the result.

    Attributes:
        state: the state before the oldest stride.
        batches: the batch of each stride, oldest first, each leaf [strides, stride, *batch, ...].
        lengths: the lengths of each stride, or None.
        count: how many of the strides have passed.
    """

    state: State
    batches: PyTree[Array, "..."]
    lengths: Int[Array, "strides *batch"] | None
    count: Int[Array, ""]

    @classmethod
    def empty(
        cls, state: State, batch: PyTree, lengths: Int[Array, "*batch"] | None, strides: int
    ) -> "PastStrides":
        """No past stride, with slots for `strides` that are like the given one."""
        batches, lengths = jax.tree.map(
            lambda leaf: jnp.repeat(jnp.asarray(leaf)[None], strides, 0), (batch, lengths)
        )
        return cls(state, batches, lengths, jnp.zeros((), jnp.int32))

    def batch_axes(self) -> "PastStrides":
        """The batch axis of every leaf."""

        def fill(tree: PyTree, axis: int) -> PyTree:
            return jax.tree.map(lambda _: axis, tree)

        return PastStrides(fill(self.state, 0), fill(self.batches, 2), fill(self.lengths, 1), 0)  # pyright: ignore

    def rerun(self, advance: Callable[[State, PyTree, PyTree], State]) -> tuple[State, State]:
        """The state after the newest stride and the state after the oldest.

        Args:
            advance: function (state, batch, lengths) -> state after that stride.
        """
        slots = self._num_slots
        has_passed = jnp.arange(slots, dtype=jnp.int32) >= slots - self.count

        def body(state: State, stride: PyTree) -> tuple[State, State]:
            has_passed, batch, lengths = stride
            state = select(has_passed, advance(state, batch, lengths), state)
            return state, state

        strides = has_passed, self.batches, self.lengths
        state, states = jax.lax.scan(body, self.state, strides)
        return state, jax.tree.map(lambda leaf: leaf[0], states)

    def push(
        self, state: State, batch: PyTree, lengths: Int[Array, "*batch"] | None
    ) -> "PastStrides":
        """The past strides for the next one: a new stride enters, the oldest leaves.

        Args:
            state: the state after the oldest stride.
            batch: the batch of the new stride.
            lengths: the lengths of the new stride.
        """

        def shift(old: Array, new: Array) -> Array:
            return jnp.concatenate([old[1:], jnp.asarray(new)[None]])

        batches, lengths = jax.tree.map(shift, (self.batches, self.lengths), (batch, lengths))
        return PastStrides(state, batches, lengths, jnp.minimum(self.count + 1, self._num_slots))

    @property
    def _num_slots(self) -> int:
        return jax.tree.leaves(self.batches)[0].shape[0]
