"""What every step of a stretch of time sees: its window, without a copy of it for each step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree

Window = PyTree  # of arrays [n, ...], the oldest entry first


class History(NamedTuple):
    """All windows of a stretch of time, for one example.

    Attributes:
        entries: the window before the first step, then what enters at each step, [n + time, ...].
        init: the window that a reset goes to.
        steps_since_reset: how many steps ago the last reset was, 0 for the step it comes before; n or more where
            none is in sight. None where there are no resets.
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
        return jax.tree.leaves(self.entries)[0].shape[0] - self.size

    def shifted(self, steps: int) -> PyTree:
        """What entered so many steps ago, 0 to n − 1, as every step sees it: [time, ...]."""
        first = self.size - steps
        seen = jax.tree.map(lambda leaf: leaf[first : first + self.time], self.entries)
        return (
            seen
            if self.steps_since_reset is None
            else self._begun(first + self.steps_since_reset, seen)
        )

    def after(self, steps: int | Int[Array, ""]) -> Window:
        """The window after so many of the steps."""
        size = self.size
        seen = jax.tree.map(
            lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, steps, size), self.entries
        )
        if self.steps_since_reset is None:
            return seen
        age = jnp.concatenate(
            [jnp.full((1,), size, self.steps_since_reset.dtype), self.steps_since_reset]
        )[steps]
        return self._begun(jnp.arange(size) + age + 1, seen)

    def windows(self) -> Window:
        """The window of each step, [time, n, ...]: n times the memory of the entries."""
        return jax.vmap(self.after)(jnp.arange(1, self.time + 1))

    def _begun(self, place: Int[Array, " rows"], seen: PyTree) -> PyTree:
        """`seen`, but the initial window's entry where one is named that it has: selected, since
        nothing passes a reset.
        """
        begun, last = place < self.size, self.size - 1
        return jax.tree.map(
            lambda own, leaf: _where(begun, own[jnp.minimum(place, last)], leaf), self.init, seen
        )


def _where(flags: Bool[Array, " rows"], yes: Array, no: Array) -> Array:
    return jnp.where(flags.reshape(-1, *[1] * (no.ndim - 1)), yes, no)


def steps_since_reset(resets: Bool[Array, " time"], size: int) -> Int[Array, " time"]:
    """`History.age` of a window with `size` entries."""
    steps = jnp.arange(len(resets))
    return steps - jax.lax.cummax(jnp.where(resets, steps, -size))
