"""A character-level language model, and one step of its training."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._cells.initialisers import lecun_normal
from .._core.cell import AbstractLayer
from .._core.optimiser import optimiser_step
from .._core.precision import precision
from .._core.problem import State
from .._core.validation import check_sizes
from .._unroll import unroll


class CharacterModel(eqx.Module):
    """A character-level language model: a cell with a linear readout to next-character logits.

        s_t, y_t = cell(s_{t−1}, e_{x_t})             e_i: one-hot vector of character i
        P(x_{t+1} = i | x_1 … x_t) = softmax(V y_t + b)_i

    Shapes: x_t (), a token; y_t (output,); logits V y_t + b (characters,).

    Args:
        cell: a cell or a network of cells; its inputs are vectors of `vocabulary_size` features.
        vocabulary_size: how many characters there are, > 0.
        key: random key for V; b starts at 0.

    Raises:
        ValueError: for a size below 1, or where the cell's inputs have another size.

    Example:
        >>> import jax, seqmem
        >>> keys = jax.random.split(jax.random.key(0))
        >>> cell = seqmem.GRU(11, 5, key=keys[0])
        >>> model = seqmem.models.CharacterModel(cell, 11, key=keys[1])
        >>> state, logits = model(None, jax.numpy.ones((7, 2), int))       # time, batch
        >>> logits.shape
        (7, 2, 11)
    """

    cell: AbstractLayer
    V: Float[Array, "characters output"]
    b: Float[Array, " characters"]

    def __init__(self, cell: AbstractLayer, vocabulary_size: int, *, key: PRNGKeyArray):
        check_sizes("CharacterModel", vocabulary_size=vocabulary_size)
        xs = jax.ShapeDtypeStruct((1, vocabulary_size), precision(cell))
        _, ys = jax.eval_shape(lambda xs: unroll(cell, None, xs), xs)
        self.cell = cell
        self.V = lecun_normal(key, (vocabulary_size, ys.shape[-1]))
        self.b = jnp.zeros(vocabulary_size)

    def init_state(self, *batch: int) -> State:
        """The state before the first character, `batch` in front of every leaf."""
        return self.cell.init_state(*batch)

    def __call__(
        self, state: State | None, tokens: Int[Array, "time *batch"], **options: Any
    ) -> tuple[State, Float[Array, "time *batch characters"]]:
        """The final state, and the logits of the character after each token.

        Args:
            state: the state before the first token; None is `init_state()`.
            tokens: the characters, time first.
            options: passed on to `seqmem.unroll`.
        """
        xs = jax.nn.one_hot(tokens, len(self.b), dtype=self.b.dtype)
        state, ys = unroll(self.cell, state, xs, **options)
        V, b = self.V.astype(ys.dtype), self.b.astype(ys.dtype)  # wider in mixed precision
        return state, ys @ V.T + b


def character_losses(
    logits: Float[Array, "*batch characters"], targets: Int[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """The cross-entropy −ln P(target) of each character, in nats; divide by ln 2 for bits."""
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
    """One step of truncated backpropagation through time, on one segment of text.

    Gradients stay within the segment, and the state is carried to the next one. A new optimiser
    object compiles a new program, so make the optimiser once.

    Args:
        model: the model.
        state: the state before the segment.
        opt_state: the optimiser's state.
        inputs: the characters of the segment.
        targets: the character after each of them.
        optimiser: from Optax.

    Returns:
        The model, the state after the segment, the optimiser's state, and the mean loss before the
        step, in nats per character.
    """

    def mean_loss(model: CharacterModel) -> tuple[Float[Array, ""], State]:
        final_state, logits = model(state, inputs)
        return character_losses(logits, targets).mean(), final_state

    (loss, state), gradient = jax.value_and_grad(mean_loss, has_aux=True)(model)
    model, opt_state = optimiser_step(optimiser, gradient, opt_state, model)
    return model, state, opt_state, loss
