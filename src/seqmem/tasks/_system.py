"""Chaotic systems in continuous time: trajectories, and each system as a cell."""

import abc
import dataclasses
import functools
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.validation import check_count, check_positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class AbstractSystem(abc.ABC):
    """A system ds/dt = f(s), seen at times dt apart, for the reconstruction of dynamical systems.

    A step of dt is `substeps` steps of the classical Runge-Kutta method of order 4. States have the
    units of the equations: subtract the mean over a trajectory and divide by its deviation before a
    network sees them. A system of your own writes `size`, `vector_field` and `start`.

    A system consists of numbers only, so it is hashable, and static under jit.

    Args:
        dt: time between two states, > 0.
        substeps: steps of the Runge-Kutta method in it, >= 1.

    Raises:
        ValueError: for a dt that is not above 0, or substeps below 1.
    """

    dt: float = 0.01
    substeps: int = 1

    def __post_init__(self):
        name = type(self).__name__
        check_positive(name, "dt", self.dt, remedy="leave it out for 0.01.")
        check_count(name, "substeps", self.substeps, remedy="leave it out for 1.")

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """Entries of the state."""

    @property
    def exponents(self) -> tuple[float, ...]:
        """The Lyapunov exponents that are known, per unit of time, the largest first.

        `dynamics.lyapunov_exponents` of the cell gives them per step: divide those by dt.
        """
        return ()

    @abc.abstractmethod
    def vector_field(self, state: Float[Array, "*batch size"]) -> Float[Array, "*batch size"]:
        """ds/dt."""

    @abc.abstractmethod
    def start(self, key: PRNGKeyArray, size: int) -> Float[Array, "batch size"]:
        """Random states from which trajectories reach the attractor."""

    def step(self, state: Float[Array, "*batch size"]) -> Float[Array, "*batch size"]:
        """The state a time dt later."""
        h, f = self.dt / self.substeps, self.vector_field

        def substep(_, s: Array) -> Array:
            k1 = f(s)
            k2 = f(s + h / 2 * k1)
            k3 = f(s + h / 2 * k2)
            k4 = f(s + h * k3)
            return s + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

        return jax.lax.fori_loop(0, self.substeps, substep, state)

    def trajectories(
        self, key: PRNGKeyArray, size: int, time: int, *, transient: int | None = None
    ) -> Float[Array, "time batch size"]:
        """Trajectories on the attractor; the same key gives the same ones.

        Args:
            key: random key for the starting points.
            size: the number of trajectories, >= 1.
            time: states of each, >= 1.
            transient: steps before the first state; None is 40 units of time.

        Raises:
            ValueError: for a number that is no integer or too small.
        """
        transient = round(40 / self.dt) if transient is None else transient
        counts = {"size": size, "time": time, "transient": transient}
        for name, value in counts.items():
            at_least = 0 if name == "transient" else 1
            owner = f"{type(self).__name__}.trajectories"
            check_count(owner, name, value, at_least=at_least)
        return _trajectories(self, key, size, time, transient)

    def as_cell(self, state: Float[Array, " size"]) -> "SystemCell":
        """The system as a cell without input, s_t = step(s_{t−1}) and y_t = s_t, for `unroll` and
        the instruments of `seqmem.dynamics`. Its inputs are arrays [time, *batch, 0].

        Args:
            state: the initial state.

        Raises:
            ValueError: for a state of another shape than (size,).
        """
        if jnp.shape(state) != (self.size,):
            raise bad_input(
                f"{type(self).__name__}.as_cell got a state of shape {jnp.shape(state)}.",
                f"one state of shape {(self.size,)}.",
                "pass one state of a trajectory, and a batch of them to seqmem.unroll.",
            )
        return SystemCell(self, jnp.asarray(state))


@functools.partial(jax.jit, static_argnums=(0, 2, 3, 4))
def _trajectories(
    system: AbstractSystem, key: PRNGKeyArray, size: int, time: int, transient: int
) -> Float[Array, "time batch size"]:
    def step(state: Array, _) -> tuple[Array, Array]:
        state = system.step(state)
        return state, state

    state = jax.lax.fori_loop(0, transient, lambda _, s: system.step(s), system.start(key, size))
    return jax.lax.scan(step, state, length=time)[1]


class SystemCell(AbstractCell):
    """A system in continuous time as a cell, from `AbstractSystem.as_cell`."""

    input_shape: ClassVar = (0,)

    system: AbstractSystem = eqx.field(static=True)
    state: Float[Array, " size"]

    def init_state(self):
        return self.state

    def project(self, x):
        return x

    def update(self, state, drive):
        return self.system.step(state)

    def readout(self, state, drive):
        return state
