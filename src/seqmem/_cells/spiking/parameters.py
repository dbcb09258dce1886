"""What spiking cells share: time constants, checks and initial parameters."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from ..._core.errors import bad_input
from ..._core.validation import check_sizes
from ..initialisers import gate_matrices, lecun_normal
from .resets import AbstractReset
from .surrogates import AbstractSurrogate


def check_spiking_cell(
    owner: str, input_size: Any, hidden_size: Any, surrogate: Any, reset: Any
) -> None:
    """Refuse sizes that are none, and what is neither a surrogate nor a reset.

    Raises:
        ValueError: for the first of them.
    """
    check_sizes(owner, input_size=input_size, hidden_size=hidden_size)
    if not isinstance(surrogate, AbstractSurrogate):
        raise bad_input(
            f"{owner} got surrogate={surrogate!r}.",
            "a surrogate gradient of seqmem.spikes, or one of your own.",
            "pass an object such as seqmem.spikes.FastSigmoid().",
        )
    if not isinstance(reset, AbstractReset):
        raise bad_input(
            f"{owner} got reset={reset!r}.",
            "a reset of seqmem.spikes, or one of your own.",
            "pass seqmem.spikes.SubtractThreshold() or seqmem.spikes.ToZero().",
        )


def log_time_constants(
    owner: str, name: str, tau: ArrayLike, hidden_size: int
) -> Float[Array, " hidden"]:
    """ln τ of every unit.

    Raises:
        ValueError: for a time constant that is not above 0, or another number of them.
    """
    values = np.asarray(tau)
    is_positive = np.issubdtype(values.dtype, np.number) and np.all(values > 0)
    if values.shape not in ((), (hidden_size,)) or not (is_positive and np.all(values < np.inf)):
        raise bad_input(
            f"{owner} got {name}={tau!r}.",
            f"a number of steps above 0, or {hidden_size} of them.",
            "pass the steps after which 1/e of a potential is left.",
        )
    logs = np.broadcast_to(np.log(values), (hidden_size,))
    return jnp.asarray(logs, jnp.result_type(float))


def decay(log_tau: Float[Array, " hidden"], *, is_learned: bool) -> Float[Array, " hidden"]:
    """exp(−1/τ), the share of a potential that one step leaves."""
    return jnp.exp(-jnp.exp(-(log_tau if is_learned else jax.lax.stop_gradient(log_tau))))


def spiking_matrices(
    key: PRNGKeyArray, input_size: int, hidden_size: int, is_recurrent: bool
) -> tuple[Float[Array, "hidden input"], Float[Array, "hidden hidden"] | None]:
    """Initial input weights, and orthogonal recurrent weights or None."""
    if not is_recurrent:
        return lecun_normal(key, (hidden_size, input_size)), None
    return gate_matrices(key, (hidden_size, input_size), (hidden_size, hidden_size))
