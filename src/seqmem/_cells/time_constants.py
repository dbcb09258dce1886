"""Time constants of units."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._core.errors import bad_input


def log_time_constants(
    owner: str, time_constants: Any, dt: float, hidden_size: int
) -> Float[Array, " hidden"]:
    """The logarithm of the time constant of each unit, which is what a cell learns.

    Raises:
        ValueError: for a time constant or a time step that is not above 0, or another number of
            them than units.
    """
    values = np.asarray(time_constants, float)
    if not (values > 0).all() or values.shape not in ((), (hidden_size,)):
        raise bad_input(
            f"{owner} got time_constants of shape {values.shape} down to {values.min(initial=0)}.",
            f"one number above 0, or one for each of the {hidden_size} units.",
            "pass time constants in the unit of dt.",
        )
    if not dt > 0:
        raise bad_input(
            f"{owner} got dt={dt!r}.", "a time above 0.", "pass the time of one step, as 1.0."
        )
    return jnp.asarray(np.broadcast_to(np.log(values), (hidden_size,)), jnp.result_type(float))


def leak(log_tau: Float[Array, " hidden"], dt: float) -> Float[Array, " hidden"]:
    """1 − exp(−Δt/τ), also where Δt is much less than τ.

    By t = tanh(Δt/2τ) it is 2t/(1 + t): a kernel for TPU has no expm1.
    """
    t = jnp.tanh(0.5 * dt * jnp.exp(-log_tau))
    return 2 * t / (1 + t)
