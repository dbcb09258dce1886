"""`check_cell` catches a faulty cell, and names the law that it breaks."""

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import seqmem
from seqmem.testing import LawBroken, check_cell
from tests.helpers.faultless import HIDDEN, Gated, Plain

REFERENCE = seqmem.ReferenceScan()


# A side channel, through which a cell can do what its signature forbids.

CHANNEL: dict[str, Any] = {}


class DrawsItsInitialState(Plain):
    def init_state(self):
        return jnp.asarray(np.random.default_rng().normal(size=HIDDEN))


class CountsItsInitialStates(Plain):
    def init_state(self):
        CHANNEL["count"] = CHANNEL.get("count", 0) + 1
        return jnp.full(HIDDEN, 0.1 * CHANNEL["count"])


class ProjectsTheState(Plain):
    def project(self, x):
        return self.W @ x + CHANNEL.get("h", 0.0)

    def update(self, h, u):
        CHANNEL["h"] = h
        return jnp.tanh(self.U @ h + u)


class ReadsThePreviousOutput(Plain):
    def readout(self, h, u):
        before, CHANNEL["y"] = CHANNEL.get("y", 0.0), h
        return h + before


class ReadsTheClock(Plain):
    def project(self, x):
        return self.W @ x + time.perf_counter()


class KnowsWhetherItIsTraced(Plain):
    def project(self, x):
        return self.W @ x * (2.0 if isinstance(x, jax.core.Tracer) else 1.0)


class GatesTheDrive(Gated):
    def mix(self, h, u):
        CHANNEL["u"] = u
        return self.U @ h

    def gate(self, h, z):
        return jnp.tanh(z + CHANNEL["u"])


class IsSingularAtZero(Plain):
    def project(self, x):
        return self.W @ x / jnp.sqrt(jnp.sum(x * x))


class HasNoSlopeAtZero(Plain):
    def project(self, x):
        return self.W @ jnp.sqrt(jnp.abs(x))


class NormalisesAnEmptyState(Gated):
    def readout(self, h, u):
        return h / jnp.linalg.norm(h + 0.0 * u)

    def gate(self, h, z):
        return jnp.where(jnp.sum(jnp.abs(h)) > 0, jnp.tanh(z), 0.0)


class Explodes(Plain):
    def update(self, h, u):
        return 1e10 * (1 + h * h + u * u) ** 2


class MixesWithAKink(Gated):
    def mix(self, h, u):
        return jax.nn.relu(self.U @ h) + u


class MixesAProduct(Gated):
    def mix(self, h, u):
        return u * (self.U @ h)


class SaturatesFarAway(Gated):
    def mix(self, h, u):
        return 100.0 * jnp.tanh(0.01 * (self.U @ h)) + u


class UpdatesWithoutItsGate(Gated):
    def update(self, h, u):
        return 0.5 * h + 0.5 * self.gate(h, self.mix(h, u))


class NarrowsItsState(Plain):
    def update(self, h, u):
        return jnp.tanh(self.U @ h + u).astype(jnp.float16)


class WidensItsState(Plain):
    def update(self, h, u):
        return jnp.broadcast_to(jnp.tanh(self.U @ h + u), (1, HIDDEN))


class WrapsItsState(Plain):
    def readout(self, h, u):
        return u

    def update(self, h, u):
        return (jnp.tanh(self.U @ h + u),)


class InsistsOnFloat32(Plain):
    def update(self, h, u):
        return jnp.tanh(self.U @ h + u).astype(jnp.float32)


class PromotesSilently(Plain):
    def project(self, x):
        return self.W @ x + np.float32(1.0) * np.ones(HIDDEN, np.float32)


class HoldsAFunction(Plain):
    phi: Any

    def __init__(self):
        super().__init__()
        self.phi = jnp.tanh


class Pair(NamedTuple):
    h: Array
    c: Array


class StartsWithOneArrayTwice(Plain):
    def init_state(self):
        zeros = jnp.zeros(HIDDEN, seqmem.state_dtype(self.U))
        return Pair(zeros, zeros)

    def update(self, state, u):
        return Pair(jnp.tanh(self.U @ state.h + u), state.c + u)

    def readout(self, state, u):
        return state.c


class ReturnsOneArrayTwice(StartsWithOneArrayTwice):
    def init_state(self):
        dtype = seqmem.state_dtype(self.U)
        return Pair(jnp.zeros(HIDDEN, dtype), jnp.zeros(HIDDEN, dtype))

    def update(self, state, u):
        h = jnp.tanh(self.U @ state.h + u)
        return Pair(h, h)


class StartsWithAWeakType(Plain):
    def init_state(self):
        return jnp.asarray(0.0)

    def update(self, h, u):
        return jnp.tanh(h + jnp.sum(u))


@jax.tree_util.register_pytree_node_class
class Renamed:
    """A part of a cell whose structure never equals itself."""

    def __init__(self, W):
        self.W = W

    def tree_flatten(self):
        return (self.W,), object()

    @classmethod
    def tree_unflatten(cls, name, leaves):
        return cls(*leaves)


class IsNeverTheSame(Plain):
    part: Any

    def __init__(self):
        super().__init__()
        self.part = Renamed(self.W)

    def project(self, x):
        return self.part.W @ x


class StepsWithAnotherReadout(Plain):
    def __call__(self, h, x):
        h, y = super().__call__(h, x)
        return h, 1.01 * y


class ReadsItsNeighbour(Plain):
    """A diagonal is declared, and the recurrent matrix is whole."""

    jacobian = seqmem.DiagonalJacobian()


class Raises(Plain):
    def readout(self, h, u):
        raise RuntimeError("not today")


FAULTS = {
    DrawsItsInitialState: ("pure", r"init_state\(\)"),
    CountsItsInitialStates: ("pure", r"init_state\(\)"),
    ProjectsTheState: ("pure", "called again"),
    ReadsThePreviousOutput: ("pure", "called again"),
    ReadsTheClock: ("pure", "called again"),
    KnowsWhetherItIsTraced: ("pure", "under jit"),
    GatesTheDrive: ("pure", r"gate\(state, z\)"),
    IsSingularAtZero: ("finite", "the new state"),
    HasNoSlopeAtZero: ("finite", "the gradient of the input"),
    NormalisesAnEmptyState: ("finite", "from the initial state"),
    Explodes: ("finite", "from a state it reaches"),
    MixesWithAKink: ("promise", "affine"),
    MixesAProduct: ("promise", "affine"),
    SaturatesFarAway: ("promise", "affine"),
    UpdatesWithoutItsGate: ("promise", r"gate\(s, mix\(s, u\)\)"),
    ReadsItsNeighbour: ("promise", "∂update/∂state is a DiagonalJacobian"),
    NarrowsItsState: ("types", "float16"),
    WidensItsState: ("types", r"\[1, 3\]"),
    WrapsItsState: ("types", "returns the tree"),
    InsistsOnFloat32: ("types", "with float64 parameters returns float32"),
    PromotesSilently: ("types", "TypePromotionError"),
    HoldsAFunction: ("tree", r"\.phi of the cell.*static"),
    StartsWithOneArrayTwice: ("separate", r"init_state .*\.h and as \.c"),
    ReturnsOneArrayTwice: ("separate", r"update .*\.h and as \.c"),
    StartsWithAWeakType: ("compiled once", "with the state it returned"),
    IsNeverTheSame: ("tree", "compiles again"),
    StepsWithAnotherReadout: ("methods", "Python loop"),
    Raises: ("types", "RuntimeError: not today"),
}


@pytest.mark.parametrize("cell_type", FAULTS)
def test_check_cell_names_the_law_that_a_cell_breaks(cell_type):
    CHANNEL.clear()
    law, sentence = FAULTS[cell_type]
    with pytest.raises(LawBroken, match=rf"(?s)^{law}: .*{sentence}") as broken:
        check_cell(cell_type(), methods=[REFERENCE])
    assert broken.value.law == law
