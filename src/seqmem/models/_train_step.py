"""One step of the training of a language model, without the tools of `seqmem.training`."""

import functools

import jax
import optax
from jaxtyping import Array, Float, Int

from .._core.optimiser import optimiser_step
from .._core.problem import State
from ._language_model import LanguageModel
from ._next_token_loss import next_token_loss


@functools.partial(jax.jit, static_argnames="optimiser")
def train_step(
    model: LanguageModel,
    state: State,
    opt_state: optax.OptState,
    inputs: Int[Array, "time *batch"],
    targets: Int[Array, "time *batch"],
    *,
    optimiser: optax.GradientTransformation,
) -> tuple[LanguageModel, State, optax.OptState, Float[Array, ""]]:
    """One step of truncated backpropagation through time, on one segment of text.

    Gradients stay within the segment, and the state is carried to the next one. A new optimiser
    object compiles a new program, so make the optimiser once. `training.make_step` with
    `next_token_loss` does more: skipped steps, metrics, windows with strides, devices.

    Args:
        model: the model.
        state: the state before the segment.
        opt_state: the optimiser's state.
        inputs: the tokens of the segment.
        targets: the token after each of them.
        optimiser: from Optax.

    Returns:
        The model, the state after the segment, the optimiser's state, and the mean loss before the
        step, in nats per token.

    Example:
        >>> import jax, optax, seqmem
        >>> keys = jax.random.split(jax.random.key(0))
        >>> model = seqmem.models.LanguageModel(seqmem.GRU(3, 5, key=keys[0]), 11, key=keys[1])
        >>> text, optimiser = jax.random.randint(keys[1], (8, 2), 0, 11), optax.adam(1e-2)
        >>> carry = model, model.init_state(2), optimiser.init(model)
        >>> window = text[:-1], text[1:]
        >>> *carry, loss = seqmem.models.train_step(*carry, *window, optimiser=optimiser)
        >>> loss.shape
        ()
    """

    def mean_loss(model: LanguageModel) -> tuple[Float[Array, ""], State]:
        total, weight, final_state = next_token_loss(model, state, (inputs, targets))
        return total / weight, final_state

    (loss, state), gradient = jax.value_and_grad(mean_loss, has_aux=True)(model)
    model, opt_state = optimiser_step(optimiser, gradient, opt_state, model)
    return model, state, opt_state, loss
