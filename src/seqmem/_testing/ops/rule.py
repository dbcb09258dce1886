"""What a rule of linear attention is: its gates, and its numbers in float64."""

import abc
import dataclasses
from typing import ClassVar, NamedTuple

import numpy as np

from .recurrence import Marks, Steps, pull_back, run_loop

Arrays = dict[str, np.ndarray]
State = tuple[np.ndarray, ...]


class Sizes(NamedTuple):
    """Different primes, so that no swapped axis hides."""

    heads: int = 2
    key: int = 3
    value: int = 5


class Evaluation(NamedTuple):
    """The numbers of a run, all [time, batch, heads, ...] or [batch, heads, ...].

    Attributes:
        outputs: o.
        state: the matrices after the last step, [batch, heads, key, value].
        gradients: of each input; "initial_state" is a tuple.
    """

    outputs: np.ndarray
    state: State
    gradients: dict[str, np.ndarray | State]


@dataclasses.dataclass(frozen=True)
class Rule(abc.ABC):
    """A rule by its name.

    Attributes:
        name: as in `seqmem.testing.KernelOp`.
        gates: the size of each gate that comes with q, k and v: of a "head", a "key" or a "value".
        decay: the gate that a strong decay is written into; None where there is no such gate.
        rates: the gates, or v, that are proportional to what a step writes and removes.
        no_strong_decay: why a strong decay is not tested, where it is not.
    """

    name: str
    gates: dict[str, str]
    decay: str | None = None
    rates: tuple[str, ...] = ()
    no_strong_decay: str = "the rule has no gate that decays"

    state_axes: ClassVar[tuple[str, ...]] = ("BHKV",)
    slow_decay: ClassVar[float] = -1e-3  # as the gate has it
    scales_state: ClassVar[bool] = False  # whether only `unscaled` has one right value

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the arrays of a step."""
        return "q", "k", "v", *self.gates

    def shape(self, name: str, sizes: Sizes) -> tuple[int, ...]:
        """The shape of one step of an array."""
        kind = {"q": "key", "k": "key", "v": "value"} | self.gates
        size = {"head": (), "key": (sizes.key,), "value": (sizes.value,)}[kind[name]]
        return (sizes.heads, *size)

    def draw(self, rng: np.random.Generator, lead: tuple[int, ...], sizes: Sizes) -> Arrays:
        """Random arrays in the ranges in which the rule does not grow."""
        arrays = {name: rng.normal(size=(*lead, *self.shape(name, sizes))) for name in self.inputs}
        arrays["k"] = unit(arrays["k"])
        return arrays | self.draw_gates(rng, arrays)

    @abc.abstractmethod
    def draw_gates(self, rng: np.random.Generator, arrays: Arrays) -> Arrays:
        """Gates in their ranges, in place of normal numbers."""

    def slow(self, arrays: Arrays) -> Arrays:
        """The first step again and again, with a small rate and decay."""
        slow = {name: np.broadcast_to(leaf[:1], leaf.shape) for name, leaf in arrays.items()}
        for name in self.rates:
            slow[name] = slow[name] / 64
        if self.decay is not None:
            slow[self.decay] = np.full_like(arrays[self.decay], self.slow_decay)
        return slow

    def draw_state(self, rng: np.random.Generator, batch: int, sizes: Sizes) -> State:
        """A random state."""
        size = {"B": batch, "H": sizes.heads, "K": sizes.key, "V": sizes.value}
        return tuple(rng.normal(size=[size[axis] for axis in axes]) for axes in self.state_axes)

    @property
    def unscaled_axes(self) -> tuple[str, ...]:
        """The axes of the arrays of an unscaled state."""
        return self.state_axes

    def unscaled(self, state: State) -> State:
        """The part of a state that has one right value."""
        return state

    def kernel_cotangents(self, cotangents: State, state: State) -> State:
        """The cotangents of a state as a kernel holds it, for those of its unscaled part."""
        return cotangents

    def unscaled_cotangents(self, cotangents: State, state: State) -> State:
        """The inverse of `kernel_cotangents`."""
        return cotangents

    @abc.abstractmethod
    def evaluate(
        self,
        arrays: Arrays,
        state: State | None,
        marks: Marks,
        scale: float,
        cotangents: tuple[np.ndarray, State],
    ) -> Evaluation:
        """All values, and the gradients for cotangents of the outputs and of the unscaled state."""


class MatrixRule(Rule):
    """A rule whose state is one matrix per head: it says what its steps are."""

    @abc.abstractmethod
    def steps(self, arrays: Arrays) -> Steps:
        """The steps of the loop, for arrays whose gates per head have an axis of size 1."""

    @abc.abstractmethod
    def pull(self, arrays: Arrays, d: Steps) -> Arrays:
        """The gradients of k, v and the gates, per channel; a gate per head gets the sum."""

    def evaluate(self, arrays, state, marks, scale, cotangents):
        per_channel = {
            name: leaf[..., None] if self.gates.get(name) == "head" else leaf
            for name, leaf in arrays.items()
        }
        steps = self.steps(per_channel)
        steps = steps._replace(query=scale * arrays["q"])
        lead = *arrays["q"].shape[1:3], arrays["v"].shape[-1], arrays["k"].shape[-1]
        S = np.zeros(lead) if state is None else state[0].swapaxes(-1, -2)
        trace = run_loop(steps, S, marks)
        d_outputs, (d_state,) = cotangents
        d_steps, d_S = pull_back(steps, trace, marks, d_outputs, d_state.swapaxes(-1, -2))
        gradients: dict[str, np.ndarray | State] = {"q": scale * d_steps.query}
        for name, leaf in self.pull(per_channel, d_steps).items():
            gradients[name] = leaf.sum(-1) if self.gates.get(name) == "head" else leaf
        if state is not None:
            gradients["initial_state"] = (d_S.swapaxes(-1, -2),)
        return Evaluation(trace.outputs, (trace.state.swapaxes(-1, -2),), gradients)


def unit(x: np.ndarray) -> np.ndarray:
    """x / ‖x‖."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def gentle_decay(rng: np.random.Generator, like: np.ndarray) -> np.ndarray:
    """Log-decays near 0."""
    return -rng.exponential(0.2, like.shape)
