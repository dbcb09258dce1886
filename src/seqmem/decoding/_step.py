"""What all decoders share: the step of a model, its checks, and the distribution of a token."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int, PyTree

from .._core.errors import bad_input
from .._core.precision import state_dtype
from .._core.problem import State

Step = Callable[[State, Int[Array, ""]], tuple[State, Float[Array, " tokens"]]]
Begin = Int[Array | np.ndarray, "*prompt"] | list[int] | int
End = Int[Array | np.ndarray, "*ends"] | Sequence[int] | int | None

NO_END = -1  # the id of an end token that no model chooses


def is_end(token: Int[Array, "*beam"], end: Int[Array, " ends"]) -> Bool[Array, "*beam"]:
    """Whether a token is one of the end tokens."""
    return (token[..., None] == end).any(-1)


def log_probabilities(
    logits: Float[Array, " tokens"],
) -> tuple[Float[Array, " tokens"], Bool[Array, ""]]:
    """ln softmax in at least float32, and whether the logits define a distribution: they do not
    where one is NaN or +∞, or all are −∞.
    """
    logits = logits.astype(state_dtype(logits))
    total = jax.nn.logsumexp(logits)
    return logits - total, jnp.isfinite(total)


def log_probability_dtype(step: Step, state: State, token: Int[Array, ""]) -> Any:
    """The dtype of a step's ln P."""
    shapes = jax.eval_shape(lambda *args: log_probabilities(step(*args)[1]), state, token)
    return shapes[0].dtype


def read_prompt(
    step: Step, state: State, prompt: Int[Array, " prompt"]
) -> tuple[State, Int[Array, ""]]:
    """The state after all tokens of a prompt but the last, and the last token."""
    if len(prompt) > 1:
        state, _ = jax.lax.scan(lambda s, token: (step(s, token)[0], None), state, prompt[:-1])
    return state, prompt[-1]


def as_arguments(
    decoder: str, step: Step, state: State, begin: Begin, end: End
) -> tuple[State, Int[Array, " prompt"], Int[Array, " ends"]]:
    """The state, the prompt and the end tokens as arrays.

    Raises:
        ValueError: where the tokens are no ids, or the step does not fit the state.
    """
    begin = jnp.atleast_1d(_as_ids(decoder, "begin", begin))
    end = jnp.atleast_1d(_as_ids(decoder, "end", NO_END if end is None else end))
    if begin.ndim > 1 or not begin.size or end.ndim > 1 or not end.size:
        raise bad_input(
            f"{decoder} got begin of shape {begin.shape} and end of shape {end.shape}.",
            "one begin token or one prompt, (tokens,), and one end token or more, (ends,).",
            f"map over a batch: jax.vmap(lambda state: {decoder}(step, state, ...))(states).",
        )
    state = jax.tree.map(jnp.asarray, state)
    check_step(step, state, begin[0])
    return state, begin, end


def _as_ids(decoder: str, name: str, tokens: Any) -> Int[Array, "..."]:
    ids = jnp.asarray(tokens)
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise bad_input(
            f"{decoder} got {name} of dtype {ids.dtype}.",
            "token ids, which are integers.",
            "encode the text with its vocabulary first.",
        )
    return ids.astype(jnp.int32)


def check_step(step: Any, state: State, token: Int[Array, ""]) -> None:
    """Refuse a step that does not return the state as it got it, and logits.

    Raises:
        ValueError: for such a step.
    """
    result = jax.eval_shape(step, state, token)
    if not isinstance(result, tuple) or len(result) != 2:
        raise bad_input(
            f"the step returned a {type(result).__name__}.",
            "a tuple (state, logits).",
            "return the state first, as a cell does.",
        )
    new_state, logits = result
    if _signature(new_state) != _signature(state):
        raise bad_input(
            f"the step turned a state of {_signature(state)[1]} into one of "
            f"{_signature(new_state)[1]}.",
            "the same tree, shapes and dtypes.",
            "return every leaf with its shape and dtype; put constants into the step.",
        )
    has_shape = hasattr(logits, "ndim") and logits.ndim == 1 and logits.shape[0] > 0
    if not has_shape or not jnp.issubdtype(logits.dtype, jnp.floating):
        raise bad_input(
            f"the step returned logits {logits}.",
            "real numbers of shape (tokens,).",
            "write the step for one sequence, without batch axes.",
        )


def check_number(
    decoder: str, name: str, value: Any, is_valid: Callable, expected: str, remedy: str
) -> None:
    """Refuse a number outside of its range; a traced value is not checked.

    Raises:
        ValueError: unless `is_valid(value)`.
    """
    if not isinstance(value, Tracer) and not is_valid(float(value)):
        raise bad_input(f"{decoder} got {name}={value!r}.", expected, remedy)


def short_repr(result: tuple) -> str:
    """Names, dtypes and shapes of a result's arrays, without their entries."""
    return eqx.tree_pformat(result, width=100, short_arrays=True)


def _signature(tree: PyTree) -> tuple:
    leaves, structure = jax.tree.flatten(jax.eval_shape(lambda: tree))
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]
