"""Time over several devices, for memories whose stretches of time have compact maps."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from .._core.errors import bad_input
from .._core.method import AbstractMethod
from .._core.time_shard import Clock
from .maps import Map, apply, compose, summarise
from .parallel import Parallel


@dataclasses.dataclass(frozen=True)
class Sharded(AbstractMethod):
    """Time in equal shares over the devices of a mesh axis, inside of a `jax.shard_map` of yours.

        M_d = the map of device d's share,    s_d = (M_{d−1} ∘ … ∘ M_0)(s),    then each share alone

    Every device makes the map of its share, all maps go to all devices (each has the size of a few
    states, whatever the time), and each runs its share from the state before it. In order along the
    axis, `xs` and `resets` hold the share's own steps; `lengths` count in the whole sequence, and
    the state, before and after, is that of the whole sequence, the same on every device. Sequences
    may be spread over other axes of the mesh.

    Source: the decomposition is that of Martin & Cundy 2018, arXiv:1709.04057, algorithm 1.

    Args:
        axis_name: the mesh axis that time is spread over.
        inner: how each device runs its share.

    Raises:
        ValueError: when run, for a cell whose family has no maps, as a gated one.

    Example:
        >>> import functools, jax, numpy, seqmem
        >>> from jax.sharding import Mesh, PartitionSpec as P
        >>> mesh = Mesh(numpy.array(jax.devices()[:1]), ("time",))
        >>> cell = seqmem.MinGRU(3, 5, key=jax.random.key(0))
        >>> run = functools.partial(seqmem.unroll, method=seqmem.Sharded("time"))
        >>> specs = {"in_specs": (P(), P(), P("time")), "out_specs": (P(), P("time"))}
        >>> sharded = jax.shard_map(run, mesh=mesh, **specs)
        >>> state, ys = sharded(cell, cell.init_state(), jax.numpy.ones((8, 3)))
        >>> ys.shape
        (8, 5)
    """

    axis_name: str
    inner: AbstractMethod = dataclasses.field(default_factory=Parallel)

    def __post_init__(self):
        if self.inner.looks_at_borders or self.inner.clock != Clock():
            raise bad_input(
                f"Sharded(inner={self.inner}).",
                "a method for one device that leaves gradients as they are.",
                "leave inner out, or write inner=seqmem.Scan().",
            )

    @property
    def clock(self) -> Clock:
        return Clock(self.axis_name)

    def run(self, cell, init, state, inputs, *, batch_axes, reverse):
        settings = {"batch_axes": batch_axes, "reverse": reverse}
        count = jax.lax.axis_size(self.axis_name)
        place = jax.lax.axis_index(self.axis_name)
        share = jax.lax.all_gather(summarise(cell, init, inputs, **settings), self.axis_name)
        order = range(count - 1, -1, -1) if reverse else range(count)

        def start(before: Map | None) -> Any:
            return state if before is None else apply(before, state)

        before, starts = None, {}
        for device in order:
            starts[device] = start(before)
            own = jax.tree.map(lambda leaf, device=device: leaf[device], share)
            before = own if before is None else compose(before, own)
        here = jax.tree.map(
            lambda *leaves: jnp.stack(leaves)[place], *map(starts.get, range(count))
        )
        final, ys = self.inner.run(cell, init, here, inputs, **settings)
        last = place == order[-1]
        total = jax.tree.map(
            lambda leaf: jax.lax.psum(jnp.where(last, leaf, jnp.zeros_like(leaf)), self.axis_name),
            final,
        )
        return total, ys
