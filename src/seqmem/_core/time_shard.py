"""The steps of a sequence that a device holds: all of them, or a share of equal size."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Shaped


@dataclasses.dataclass(frozen=True)
class TimeShard:
    """How time is spread over devices: not at all, or in equal shares along a mesh axis, in order.

    Attributes:
        axis_name: the mesh axis that time is sharded over; None if every device holds all of it.
    """

    axis_name: str | None = None

    def total(self, time: int) -> int:
        """How many steps the whole sequence has, if this device holds `time` of them."""
        return time if self.axis_name is None else time * jax.lax.axis_size(self.axis_name)

    def steps(self, time: int) -> Int[Array, " time"]:
        """The indices in the whole sequence of the `time` steps of this device."""
        steps = jnp.arange(time)
        if self.axis_name is None:
            return steps
        return steps + time * jax.lax.axis_index(self.axis_name).astype(steps.dtype)

    def earlier(self, leaf: Shaped[Array, "time ..."]) -> Shaped[Array, "time ..."]:
        """Every entry one step earlier, also across devices; the last one is 0 or False."""
        first = leaf[:1]
        if self.axis_name is None:
            return jnp.concatenate([leaf[1:], jnp.zeros_like(first)])
        count = jax.lax.axis_size(self.axis_name)
        to_left = [(place, place - 1) for place in range(1, count)]
        return jnp.concatenate([leaf[1:], jax.lax.ppermute(first, self.axis_name, to_left)])
