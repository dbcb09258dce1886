"""What the kernels get and return. Time is first, then the batch, one axis; units are last."""

from typing import NamedTuple

from jaxtyping import Array, Float, Int

Steps = list[Float[Array, "time batch units"]]  # one array for each leaf of the state
Border = list[Float[Array, "batch units"]]
ZPlanes = Float[Array, "time plane batch units"]
Flag = Int[Array, "time batch 1"]


class Weights(NamedTuple):
    """What a kernel reads of a cell, the same at every step.

    Attributes:
        matrices: M of each plane of z that sees the state; None where no plane does.
        parameters: those of the gate, as planes.
    """

    matrices: Float[Array, "seeing units units"] | None
    parameters: list[Float[Array, "plane units"]]


class ForwardRun(NamedTuple):
    """What the forward loop reads.

    Attributes:
        weights: of the cell.
        z_x: what the inputs add to z.
        init: the state that a reset selects.
        state: the state before the first step that is run.
        reset: 1 where a step starts from `init`; None is nowhere.
        padding: 1 where a step leaves the state as it is; None is nowhere.
        perturbation: what is added to the updated state; None is nothing.
    """

    weights: Weights
    z_x: ZPlanes
    init: Border
    state: Border
    reset: Flag | None
    padding: Flag | None
    perturbation: Steps | None


class ForwardResult(NamedTuple):
    """What the forward loop finds.

    Attributes:
        states: after each step.
        z: the pre-activations of each step.
        state: after the step that is run last.
    """

    states: Steps
    z: ZPlanes
    state: Border


class BackwardRun(NamedTuple):
    """What the backward loop reads.

    Attributes:
        weights: of the cell.
        before: the state that each step starts from, resets applied.
        z: the pre-activations of each step.
        d_readout: the cotangent of each state from what is read out of it.
        reset: as for the forward loop.
        padding: as for the forward loop.
        d_state: the cotangent of the state after the step that the forward loop runs last.
        d_init: the cotangent of the initial state so far.
    """

    weights: Weights
    before: Steps
    z: ZPlanes
    d_readout: Steps
    reset: Flag | None
    padding: Flag | None
    d_state: Border
    d_init: Border


class BackwardResult(NamedTuple):
    """What the backward loop finds.

    Attributes:
        d_updates: the cotangent of each updated state.
        d_state: that of the state before the step that the forward loop runs first.
        d_init: that of the initial state.
    """

    d_updates: Steps
    d_state: Border
    d_init: Border
