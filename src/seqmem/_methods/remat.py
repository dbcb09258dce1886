"""Rematerialisation: one state is kept per segment of time, and the rest is computed again."""

import dataclasses
import functools

import jax
from jax.ad_checkpoint import checkpoint_name

from .._core.errors import bad_input
from .._core.method import AbstractMethod
from .._core.problem import Problem, Solution, State
from .._core.time_shard import TimeShard
from .._core.validation import check_count
from .default import default_method
from .layer_by_layer import LayerByLayer
from .segments import scan_segments

KEPT_STATE = "seqmem_kept_state"
TO_THE_HOST = jax.checkpoint_policies.save_and_offload_only_these_names(
    names_which_can_be_saved=[],
    names_which_can_be_offloaded=[KEPT_STATE],
    offload_src="device",
    offload_dst="pinned_host",
)


@dataclasses.dataclass(frozen=True)
class Remat(AbstractMethod):
    """Another method on segments of `every` steps: the backward pass keeps the state before each
    segment, and computes the rest again, one segment at a time.

    Memory then grows as time/every + every, and the forward pass is computed twice.
    `unroll(remat_every=n)` is the same as `Remat(n)` around its method. A network that needs the
    future, such as a bidirectional one, is cut within its parts.

    Args:
        every: steps per segment; about the square root of the time takes the least memory.
        method: how a segment is run; None picks the default of the cell's family.
        offload: keep the states in the memory of the host instead of the device's. The device then
            needs the memory of one segment besides inputs and outputs, however long the sequence
            is. Copies take no time where a segment takes longer than they do. On a CPU it has no
            effect.

    Raises:
        ValueError: for `every` below 1, and a method with time over devices.

    Example:
        >>> import jax, seqmem
        >>> cell, xs = seqmem.GRU(3, 5, key=jax.random.key(0)), jax.numpy.ones((10_000, 3))
        >>> def loss(cell):
        ...     state, _ = seqmem.unroll(cell, None, xs, method=seqmem.Remat(100, offload=True))
        ...     return (state**2).sum()
        >>> jax.grad(loss)(cell).U.shape
        (3, 5, 5)
    """

    every: int
    method: AbstractMethod | None = None
    offload: bool = False

    def __post_init__(self):
        check_count(
            "Remat", "every", self.every, remedy="choose about the square root of the time."
        )
        is_method = self.method is None or isinstance(self.method, AbstractMethod)
        if not is_method or (self.method or self).time_shard != TimeShard():
            raise bad_input(
                f"Remat got method={self.method!r}.",
                "a method for one device, such as seqmem.Scan(), or None.",
                "leave it out; where time is over devices, use more of them.",
            )

    @property
    def needs_step_index(self) -> bool:
        return self.method is not None and self.method.needs_step_index

    @property
    def needs_cell(self) -> bool:
        return self.method is not None and self.method.needs_cell

    def run(self, problem):
        method = self.method or default_method(problem.cell)
        if not problem.cell.can_step:
            methods = method.methods if isinstance(method, LayerByLayer) else ()
            parts = (dataclasses.replace(self, method=part) for part in methods or (None,))
            return LayerByLayer(*parts).run(problem)
        if self.every >= problem.time:
            return method.run(problem)

        @functools.partial(jax.checkpoint, policy=TO_THE_HOST if self.offload else None)
        def run_segment(problem: Problem) -> Solution:
            kept = jax.tree.map(lambda leaf: checkpoint_name(leaf, KEPT_STATE), problem.state)
            return method.run(problem.replace(state=kept))

        def body(state: State, segment: tuple) -> tuple[State, tuple]:
            (inputs, flags), _ = segment
            solution = run_segment(problem.replace(state=state, inputs=inputs, flags=flags))
            return solution.state, (solution.outputs, solution.states, solution.stats)

        state, over_time = scan_segments(
            body, problem.state, problem.steps, self.every, reverse=problem.reverse
        )
        return Solution(state, *over_time)
