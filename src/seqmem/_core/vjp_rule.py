"""How a family's update is taken apart for the backward pass of `Scan`."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from jaxtyping import PyTree

from .platform import Platform
from .problem import Drive, State


class TileSizes(NamedTuple):
    """How many steps `Scan` takes together.

    Attributes:
        forward: steps whose inputs the forward loop projects at once.
        unroll: how many of these are written out one after another.
        backward: steps that the backward pass linearises at once.
        backward_unroll: how many steps of its loop are written out one after another.
        separates_steps: whether the compiler is kept from computing a step of the forward loop
            again for the steps after it.
    """

    forward: int
    unroll: int
    backward: int
    backward_unroll: int = 1
    separates_steps: bool = False


class BackwardTile(NamedTuple):
    """The steps that the backward pass linearises at once.

    Attributes:
        cell: the cell.
        states: the state before each step, [time, *batch, ...], resets applied.
        saved: what `prepare` returned at each step.
        inputs: the inputs of each step.
        batch_axes: how many batch axes there are.
    """

    cell: Any
    states: State
    saved: PyTree
    inputs: PyTree
    batch_axes: int


class AbstractVJPRule(abc.ABC):
    """How an update is taken apart: update(s, u) = finish(s, prepare(s, u)).

    `prepare` and `finish` take one example and one step; the other functions take a tile. A
    subclass is a frozen dataclass.

    Attributes:
        saves_prepared: whether the result of `prepare` is worth keeping for the backward pass.
        is_gated: whether `prepare` is affine in the state, `finish` treats all units alike, and
            `pull_to_inputs` takes None for `pulled`: what `seqmem.Fused` needs.
    """

    saves_prepared: ClassVar[bool]
    is_gated: ClassVar[bool] = False

    @abc.abstractmethod
    def tile_sizes(self, batch: int, entries: int, platform: Platform) -> TileSizes:
        """For a batch of that many sequences, that many real entries of one state, and the platform
        that the program is traced for: "cpu", "gpu" or "tpu".
        """

    @abc.abstractmethod
    def prepare(self, cell: Any, state: State, drive: Drive, /) -> PyTree:
        """The part of one update whose result may be kept."""

    @abc.abstractmethod
    def finish(self, cell: Any, state: State, saved: PyTree, /) -> State:
        """The rest of one update."""

    @abc.abstractmethod
    def linearise(
        self, tile: BackwardTile
    ) -> tuple[PyTree, Callable[[PyTree, State], tuple[State, PyTree]]]:
        """What the backward loop reads at each step, time first, and its body.

        The body takes what is read at one step and the cotangent of the state after it; it returns
        the cotangent of the state before it, and what `pull_to_inputs` needs to know of the step.
        """

    @abc.abstractmethod
    def pull_to_inputs(
        self, tile: BackwardTile, d_states: State, pulled: PyTree
    ) -> tuple[PyTree, PyTree]:
        """The cotangents of the parameters and of the inputs, from those of the updated states.

        `pulled` is what the body of `linearise` returned at each step.
        """
