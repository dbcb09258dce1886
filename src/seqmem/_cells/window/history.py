"""`History`: the windows of all steps of a sequence, without a copy for each step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree

Window = PyTree  # of arrays [n, ...], the oldest entry first


class History(NamedTuple):
    """The windows of all steps of a sequence, for one example.

    Attributes:
        entries: the window before the first step, then the entry of each step, [n + time, ...].
        init: the initial window, which a reset selects.
        steps_since_reset: steps since the last reset, 0 at the step right after it; n or more where
            the last n steps have no reset. None without resets.
    """

    entries: PyTree
    init: Window
    steps_since_reset: Int[Array, " time"] | None

    @property
    def size(self) -> int:
        """n, the entries of a window."""
        return jax.tree.leaves(self.init)[0].shape[0]

    @property
    def time(self) -> int:
        """The number of steps."""
        return jax.tree.leaves(self.entries)[0].shape[0] - self.size

    def shifted(self, steps: int) -> PyTree:
        """The entry that each step sees `steps` steps back, 0 to n − 1: [time, ...]."""
        first = self.size - steps
        entries = jax.tree.map(lambda leaf: leaf[first : first + self.time], self.entries)
        if self.steps_since_reset is None:
            return entries
        return self._select_init(first + self.steps_since_reset, entries)

    def after(self, steps: int | Int[Array, ""]) -> Window:
        """The window after the first `steps` steps."""
        size = self.size
        window = jax.tree.map(
            lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, steps, size), self.entries
        )
        if self.steps_since_reset is None:
            return window
        before_first = jnp.full((1,), size, self.steps_since_reset.dtype)
        since_reset = jnp.concatenate([before_first, self.steps_since_reset])[steps]
        return self._select_init(jnp.arange(size) + since_reset + 1, window)

    def windows(self) -> Window:
        """The window of each step, [time, n, ...]: n times the memory of the entries."""
        return jax.vmap(self.after)(jnp.arange(1, self.time + 1))

    def _select_init(self, index: Int[Array, " rows"], entries: PyTree) -> PyTree:
        """`entries`, except in rows whose index is below n: these are from before a reset, and get
        the entry of the initial window with that index. Selected, so that nothing passes a reset.
        """
        is_init, last = index < self.size, self.size - 1
        return jax.tree.map(
            lambda init, leaf: _where(is_init, init[jnp.minimum(index, last)], leaf),
            self.init,
            entries,
        )


def _where(flags: Bool[Array, " rows"], if_true: Array, if_false: Array) -> Array:
    return jnp.where(flags.reshape(-1, *[1] * (if_false.ndim - 1)), if_true, if_false)


def steps_since_reset(resets: Bool[Array, " time"], size: int) -> Int[Array, " time"]:
    """`History.steps_since_reset` of a window with `size` entries."""
    steps = jnp.arange(len(resets))
    return steps - jax.lax.cummax(jnp.where(resets, steps, -size))
