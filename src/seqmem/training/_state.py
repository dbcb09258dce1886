"""The state of training: everything that a step changes."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int, PyTree

from .._core.precision import keep_inexact
from ._gradient import Carry


class TrainingState(eqx.Module):
    """Everything that a training step changes.

    Attributes:
        model: the parameters, and everything else in the model's tree.
        opt_state: the state of the optimiser.
        carry: the carry for the next segment of time, with the states of the cells.
        steps: number of updates.
        skipped: number of skipped steps.
    """

    model: PyTree
    opt_state: optax.OptState
    carry: Carry
    steps: Int[Array, ""]
    skipped: Int[Array, ""]


def begin_training(
    model: PyTree, optimiser: optax.GradientTransformation, carry: Carry
) -> TrainingState:
    """The training state before the first step.

    All arrays are copies: a step donates the memory of its state, and `model` stays usable.

    Args:
        model: the model.
        optimiser: the optimiser of `make_step`.
        carry: from `init_carry` of the gradient.
    """

    def copy(leaf: Any) -> Any:
        return jnp.array(leaf) if isinstance(leaf, jax.Array | np.ndarray) else leaf

    zero = np.zeros((), np.int32)
    state = TrainingState(model, optimiser.init(keep_inexact(model)), carry, zero, zero)  # pyright: ignore
    return jax.tree.map(copy, state)
