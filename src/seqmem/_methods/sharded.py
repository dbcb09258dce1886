"""`Sharded`: time spread over devices, for cells whose transitions over time are compact."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._core.errors import bad_input
from .._core.method import AbstractMethod
from .._core.problem import Solution
from .._core.time_shard import TimeShard
from .parallel import Parallel


@dataclasses.dataclass(frozen=True)
class Sharded(AbstractMethod):
    """Time in equal shares over the devices of a mesh axis, inside a `jax.shard_map` of yours.

        M_d = the transition of device d's share,    s_d = (M_{d−1} ∘ … ∘ M_0)(s)

    Every device makes the transition of its share, all transitions go to all devices (each has the
    size of a few states, whatever the time), and each device runs its share from the state before
    it. In order along the axis, `xs` and `resets` hold the share's own steps; `lengths` count in
    the whole sequence, and the state, before and after, is that of the whole sequence, the same on
    every device. Sequences may be spread over other axes of the mesh.

    Source: the decomposition of Martin & Cundy 2018, arXiv:1709.04057, algorithm 1.

    Args:
        axis_name: the mesh axis that time is spread over.
        inner: how each device runs its share.

    Raises:
        ValueError: for an inner method that transforms gradients or is sharded itself, and, when
            run, for a cell whose family has no transitions, such as a gated one.

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
        if self.inner.needs_step_index or self.inner.time_shard != TimeShard():
            raise bad_input(
                f"Sharded(inner={self.inner}).",
                "a method for one device that does not transform gradients.",
                "leave inner out, or write inner=seqmem.Scan().",
            )

    @property
    def time_shard(self) -> TimeShard:
        return TimeShard(self.axis_name)

    def run(self, problem):
        rule = problem.cell.family.transition
        if rule is None:
            raise bad_input(
                f"Sharded got a cell of type {type(problem.cell).__name__}.",
                "a cell with a linear state update, of the diagonal or the fast-weight family.",
                "use method=seqmem.Scan(), which runs every cell, on time that is not sharded.",
            )
        count = jax.lax.axis_size(self.axis_name)
        place = jax.lax.axis_index(self.axis_name)
        transitions = jax.lax.all_gather(rule.of(problem), self.axis_name)
        order = range(count - 1, -1, -1) if problem.reverse else range(count)
        so_far, starts = None, {}
        for device in order:
            starts[device] = problem.state if so_far is None else rule.apply(so_far, problem.state)
            share = jax.tree.map(lambda leaf, device=device: leaf[device], transitions)
            so_far = share if so_far is None else rule.compose(so_far, share)
        start = jax.tree.map(
            lambda *leaves: jnp.stack(leaves)[place], *map(starts.get, range(count))
        )
        solution = self.inner.run(problem.replace(state=start))
        is_last = place == order[-1]

        def from_last_device(leaf: Array) -> Array:
            return jax.lax.psum(jnp.where(is_last, leaf, jnp.zeros_like(leaf)), self.axis_name)

        state = jax.tree.map(from_last_device, solution.state)
        return Solution(state, solution.outputs, solution.states, solution.stats)
