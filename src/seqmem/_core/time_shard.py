"""Which steps of the whole sequence a program holds: all of them, or a device's share."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int


@dataclasses.dataclass(frozen=True)
class TimeShard:
    """Time, all here or in equal shares along an axis of a device mesh, in order.

    Attributes:
        axis_name: the mesh axis that time is sharded over; None where all of it is here.
    """

    axis_name: str | None = None

    def total(self, time: int) -> int:
        """The steps of the whole sequence, of which `time` are here."""
        return time if self.axis_name is None else time * jax.lax.axis_size(self.axis_name)

    def steps(self, time: int) -> Int[Array, " time"]:
        """Which steps these are."""
        steps = jnp.arange(time)
        if self.axis_name is None:
            return steps
        return steps + time * jax.lax.axis_index(self.axis_name).astype(steps.dtype)

    def earlier(self, flags: Bool[Array, "time ..."]) -> Bool[Array, "time ..."]:
        """Every flag one step earlier; none comes in at the end of the sequence."""
        first = flags[:1]
        if self.axis_name is None:
            return jnp.concatenate([flags[1:], jnp.zeros_like(first)])
        count = jax.lax.axis_size(self.axis_name)
        to_left = [(place, place - 1) for place in range(1, count)]  # who gets nothing gets False
        return jnp.concatenate([flags[1:], jax.lax.ppermute(first, self.axis_name, to_left)])
