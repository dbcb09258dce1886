"""`Bidirectional`: two layers over the same sequence, one from each end."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._core.cell import AbstractLayer
from .._core.container import AbstractContainer
from .._core.errors import bad_input
from .._core.method import AbstractMethod
from .._core.perturbations import ZeroPerturbations
from .._core.problem import Problem, Solution, State, StepFlags
from .._core.shapes import is_shape
from .._core.time_shard import TimeShard
from .._core.timed import map_delta_t
from .._methods.layer_by_layer import COMPOSITE, LayerByLayer, method_of_part
from .._methods.series import worst_of


class Bidirectional(AbstractContainer):
    """Two layers over the same sequence, one forward and one backward in time.

        y_t = (forward(x_1, ..., x_t), backward(x_t, ..., x_T))        T the sequence's length

    It needs the future, so it has no single step; it can stand in a `Stack`, and `seqmem.unroll`
    runs it. The state is a pair: that of the forward layer before the first step, and that of the
    backward layer after the last valid step. The outputs of the forward layer come first in the
    last axis. `seqmem.layers.LayerByLayer` chooses the methods of both.

    The Δt of a `seqmem.Timed` input is the time since the step before. Backward in time, that is
    the step after: the backward layer gets Δt_{t+1} at step t, and 0 at the last valid step of a
    sequence and before a reset.

    Source: Schuster & Paliwal 1997, IEEE Transactions on Signal Processing 45(11),
    doi:10.1109/78.650093. Differs: none.

    Args:
        forward: the layer that runs from the first step to the last.
        backward: the layer that runs from the last valid step to the first.

    Raises:
        ValueError: where one of them is no layer, and, when run, for `reverse`.

    Example:
        >>> import jax, seqmem
        >>> from seqmem.layers import Bidirectional, Stack
        >>> keys = jax.random.split(jax.random.key(0), 4)
        >>> net = Stack([
        ...     Bidirectional(seqmem.LSTM(3, 5, key=keys[0]), seqmem.LSTM(3, 5, key=keys[1])),
        ...     Bidirectional(seqmem.LSTM(10, 5, key=keys[2]), seqmem.LSTM(10, 5, key=keys[3])),
        ... ])
        >>> state, ys = seqmem.unroll(net, None, jax.numpy.ones((7, 2, 3)), lengths=[7, 4])
        >>> ys.shape
        (7, 2, 10)
    """

    family = COMPOSITE

    forward: AbstractLayer
    backward: AbstractLayer

    def __check_init__(self):
        for layer in (self.forward, self.backward):
            if not isinstance(layer, AbstractLayer):
                raise bad_input(
                    f"Bidirectional got a {type(layer).__name__}.",
                    "two cells, or other layers.",
                    "pass the layer that runs forward, then the one that runs backward.",
                )

    @property
    def input_shape(self) -> PyTree:
        return self.forward.input_shape

    @property
    def output_shape(self) -> PyTree:
        return jax.tree.map(
            lambda a, b: (*a[:-1], a[-1] + b[-1]),
            self.forward.output_shape,
            self.backward.output_shape,
            is_leaf=is_shape,
        )

    def init_state(self) -> State:
        return self.forward.init_state(), self.backward.init_state()

    def map_first(self, change: Callable[[Any], Any]) -> "Bidirectional":
        return Bidirectional(change(self.forward), change(self.backward))

    def run_parts(self, problem: Problem, methods: tuple[AbstractMethod | None, ...]) -> Solution:
        if problem.reverse:
            raise bad_input(
                "Bidirectional with reverse=True.",
                "reverse=False: it runs in both directions.",
                "swap its forward and backward layers.",
            )
        solutions, stats = [], None
        shard = LayerByLayer(*methods).time_shard
        for index, layer in enumerate((self.forward, self.backward)):
            is_backward = index == 1
            inputs, flags = problem.inputs, problem.flags
            if is_backward:
                inputs = map_delta_t(functools.partial(_until_next, problem, shard), inputs)
                flags = _reversed_flags(problem, shard)
            perturbation = problem.flags.perturbation
            if isinstance(perturbation, ZeroPerturbations):
                zeros = ZeroPerturbations(perturbation.values[index])
                flags = flags._replace(perturbation=zeros)
            elif perturbation is not None:
                flags = flags._replace(perturbation=perturbation[index])
            part = problem.replace(
                cell=layer,
                init=problem.init[index],
                state=problem.state[index],
                inputs=inputs,
                flags=flags,
                reverse=is_backward,
            )
            solutions.append(method_of_part(layer, methods, index, 2).run(part))
            stats = worst_of(stats, solutions[-1].stats)
        outputs = jax.tree.map(
            lambda a, b: jnp.concatenate([a, b], axis=-1), *(s.outputs for s in solutions)
        )
        states = tuple(s.states for s in solutions) if problem.return_states else None
        return Solution(tuple(s.state for s in solutions), outputs, states, stats)


def _until_next(
    problem: Problem, shard: TimeShard, delta_t: Float[Array, "time *batch"]
) -> Float[Array, "time *batch"]:
    """The time from each step to the next one of its sequence, 0 at the last one."""
    delta_t = shard.earlier(delta_t)
    for flag in (problem.flags.padding, problem.flags.reset):
        if flag is not None:
            delta_t = jnp.where(shard.earlier(flag), 0, delta_t)
    return delta_t


def _reversed_flags(problem: Problem, shard: TimeShard) -> StepFlags:
    """The flags of a run from last to first, from those of a run from first to last."""
    flags = problem.flags
    if flags.reset is not None:  # what separates x[t] from x[t−1] is met before x[t−1]
        flags = flags._replace(reset=shard.earlier(flags.reset))
    if flags.step_index is not None:
        flags = flags._replace(step_index=_index_from_end(problem))
    return flags


def _index_from_end(problem: Problem) -> Array:
    """Step indices as a run from last to first has them: 0 is the last valid step."""
    padding = problem.flags.padding
    steps = jnp.arange(problem.time).reshape(-1, *[1] * problem.batch_axes)
    length = problem.time if padding is None else (~padding).sum(0)
    step_index = (steps + 1) % jnp.maximum(length, 1)
    return jnp.broadcast_to(step_index, (problem.time, *problem.batch))
