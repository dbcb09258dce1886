"""The systems of Lorenz, 1963 and 1996."""

import dataclasses

import jax
import jax.numpy as jnp

from .._core.errors import bad_input
from .._core.validation import check_count
from ._system import AbstractSystem


@dataclasses.dataclass(frozen=True)
class Lorenz63(AbstractSystem):
    """The Lorenz system of 1963: three variables, chaotic.

        dx/dt = 10 (y − x)
        dy/dt = x (28 − z) − y
        dz/dt = x y − 8/3 z

    Exponents per unit of time: 0.9056, 0, −14.5723; the largest doubles an error in 0.77. Their sum
    is −(10 + 1 + 8/3) at every state.
    Source: Lorenz 1963, Journal of the Atmospheric Sciences 20; the exponents are those of Sprott
    2003, Chaos and Time-Series Analysis, in three digits also at
    sprott.physics.wisc.edu/chaos/lorenzle.htm.

    Args:
        dt: time between two states, > 0.
        substeps: steps of the Runge-Kutta method in it, >= 1.

    Raises:
        ValueError: for a dt that is not above 0, or substeps below 1.

    Example:
        >>> import jax
        >>> from seqmem import tasks
        >>> system = tasks.Lorenz63(dt=0.02)
        >>> system.trajectories(jax.random.key(0), 5, 7, transient=100).shape   # time first
        (7, 5, 3)
        >>> system.exponents
        (0.9056, 0.0, -14.5723)
    """

    @property
    def size(self):
        return 3

    @property
    def exponents(self):
        return (0.9056, 0.0, -14.5723)

    def vector_field(self, state):
        x, y, z = state[..., 0], state[..., 1], state[..., 2]
        return jnp.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], axis=-1)

    def start(self, key, size):
        return jnp.array([0.0, 0.0, 25.0]) + jax.random.normal(key, (size, 3))


@dataclasses.dataclass(frozen=True)
class Lorenz96(AbstractSystem):
    """The Lorenz system of 1996: variables on a ring, each of which is driven by its neighbours.

        dx_i/dt = (x_{i+1} − x_{i−2}) x_{i−1} − x_i + F        indices modulo N

    With N = 40 and F = 8 the largest exponent is 1.687 ± 0.003 per unit of time, as
    `dynamics.lyapunov_exponents` measures it over 24 trajectories of 1500 units (dt = 0.05, two
    substeps): an error doubles in 0.41. Lorenz & Emanuel say 2 days, which are 0.4. The sum of all
    exponents is −N at every state.
    Source: Lorenz 1996, Predictability: a problem partly solved; Lorenz & Emanuel 1998, Journal of
    the Atmospheric Sciences 55. The papers were not read.

    Args:
        N: variables, >= 4.
        F: the constant force; the system is chaotic at 8.
        dt: time between two states, > 0.
        substeps: steps of the Runge-Kutta method in it, >= 1.

    Raises:
        ValueError: for a number that is too small, or a force that is not finite.

    Example:
        >>> import jax
        >>> from seqmem import tasks
        >>> tasks.Lorenz96(dt=0.05).trajectories(jax.random.key(0), 5, 7, transient=100).shape
        (7, 5, 40)
    """

    N: int = 40
    F: float = 8.0

    def __post_init__(self):
        super().__post_init__()
        check_count("Lorenz96", "N", self.N, at_least=4, remedy="leave it out for 40.")
        if not abs(self.F) < float("inf"):
            raise bad_input(f"Lorenz96 got F={self.F}.", "a finite number.", "leave it out for 8.")

    @property
    def size(self):
        return self.N

    @property
    def exponents(self):
        return (1.687,) if (self.N, self.F) == (40, 8.0) else ()

    def vector_field(self, state):
        before, second_before, after = (jnp.roll(state, shift, axis=-1) for shift in (1, 2, -1))
        return (after - second_before) * before - state + self.F

    def start(self, key, size):
        return self.F + jax.random.normal(key, (size, self.N))
