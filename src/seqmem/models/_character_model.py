"""A model of text, one character after another, and one step of its training."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._cells.initialisers import lecun_normal
from .._core.cell import AbstractCell
from .._core.precision import precision
from .._core.problem import State
from .._unroll import unroll


class CharacterModel(eqx.Module):
    """A cell that reads characters, and a guess of the next one from what it shows.

        s_t, y_t = cell(s_{t−1}, e_{x_t})             e_i: one-hot vector of character i
        P(x_{t+1} = i | x_1 … x_t) = softmax(V y_t + b)_i

    Shapes: x_t an id, y (output,), logits V y + b (characters,).

    Args:
        cell: any cell whose inputs are vectors of `vocabulary_size` entries.
        vocabulary_size: how many characters there are, > 0.
        key: for V; b begins at 0.

    Raises:
        ValueError: where the cell's input has another size.
    """

    cell: AbstractCell
    V: Float[Array, "characters output"]
    b: Float[Array, " characters"]

    def __init__(self, cell: AbstractCell, vocabulary_size: int, *, key: PRNGKeyArray):
        one = jax.ShapeDtypeStruct((1, vocabulary_size), precision(cell))
        shown = jax.eval_shape(lambda xs: unroll(cell, cell.init_state(), xs)[1], one)
        self.cell = cell
        self.V = lecun_normal(key, (vocabulary_size, shown.shape[-1]))
        self.b = jnp.zeros(vocabulary_size)

    def init_state(self, *batch: int) -> State:
        """The cell's state before the first character, with these batch axes in front."""
        return jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, batch + leaf.shape), self.cell.init_state()
        )

    def __call__(
        self, state: State, ids: Int[Array, "time *batch"], **options
    ) -> tuple[State, Float[Array, "time *batch characters"]]:
        """The final state, and the logits of each next character; options are those of `unroll`."""
        xs = jax.nn.one_hot(ids, len(self.b), dtype=self.b.dtype)
        state, ys = unroll(self.cell, state, xs, **options)
        V, b = self.V.astype(ys.dtype), self.b.astype(ys.dtype)  # narrower in mixed precision
        return state, ys @ V.T + b


def character_losses(
    logits: Float[Array, "*batch characters"], targets: Int[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """−ln P(target), in nats per character; 1/ln 2 times that is bits."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, targets)


@functools.partial(jax.jit, static_argnames="optimiser")
def train_step(
    model: CharacterModel,
    state: State,
    opt_state: optax.OptState,
    inputs: Int[Array, "time *batch"],
    targets: Int[Array, "time *batch"],
    *,
    optimiser: optax.GradientTransformation,
) -> tuple[CharacterModel, State, optax.OptState, Float[Array, ""]]:
    """One step of training on one window: gradients within it, the state carried to the next.

    Compiled once for each optimiser, so make the optimiser once.

    Returns:
        The model, the state after the window, the optimiser's state, and the mean loss before the
        step, in nats per character.
    """

    def loss(model: CharacterModel) -> tuple[Float[Array, ""], State]:
        after, logits = model(state, inputs)
        return character_losses(logits, targets).mean(), after

    (value, state), gradient = jax.value_and_grad(loss, has_aux=True)(model)
    # Adam takes a float to the power of an integer, which strict promotion forbids.
    with jax.numpy_dtype_promotion("standard"):
        updates, opt_state = optimiser.update(gradient, opt_state, model)  # pyright: ignore
    return eqx.apply_updates(model, updates), state, opt_state, value
