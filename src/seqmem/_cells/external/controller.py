"""The controller of an external memory: any cell that gets the input and what was read before."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.cell import AbstractCell, project, readout, update
from ..._core.errors import bad_input
from ..._core.problem import State
from ..gated.lstm import LSTM


def make_controller(
    owner: str, controller: Any, sizes: tuple[int, int], key: PRNGKeyArray
) -> AbstractCell:
    """The given cell, or an LSTM, from the sizes of its input and its output.

    Raises:
        ValueError: for what is no cell, or a cell of other sizes.
    """
    input_size, hidden_size = sizes
    if controller is None:
        return LSTM(input_size, hidden_size, key=key)
    remedy = (
        "make the controller for input_size + heads that read · slot_size features, with "
        "hidden_size outputs; or leave it out for an LSTM."
    )
    expected = f"a cell with an input of ({input_size},) and an output of ({hidden_size},)."
    if not isinstance(controller, AbstractCell):
        came = f"{owner} got a controller that is a {type(controller).__name__}."
        raise bad_input(came, expected, remedy)
    shapes = controller.input_shape, controller.output_shape
    if shapes != ((input_size,), (hidden_size,)):
        came = f"{owner} got a {type(controller).__name__} from {shapes[0]} to {shapes[1]}."
        raise bad_input(came, expected, remedy)
    return controller


def step_controller(
    controller: AbstractCell,
    state: State,
    x: Float[Array, " input"],
    reads: Float[Array, " reads"],
) -> tuple[State, Float[Array, " hidden"]]:
    """The controller's next state, and its output h."""
    drive = project(controller, jnp.concatenate([x, reads]), state)
    state = update(controller, state, drive)
    return state, readout(controller, state, drive)
