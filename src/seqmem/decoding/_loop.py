"""What all decoders share: distributions of the next token, and the loop of those that keep one
sequence.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._core.precision import state_dtype
from .._core.problem import State
from ._checks import check_count, check_step

Step = Callable[[State, Int[Array, ""]], tuple[State, Float[Array, " tokens"]]]


class Decoded(NamedTuple):
    """A sequence of tokens; under `jax.vmap` each field has the batch axes in front.

    Attributes:
        tokens: what was chosen, then the end token up to `max_length`.
        length: how many were chosen, the end token counted.
        log_probability: ln P(tokens) of the model; NaN where its logits were no distribution.
        state: after the step that gave the last token, which it has not seen: to go on, begin with
            `tokens[length − 1]`.
    """

    tokens: Int[Array, " max_length"]
    length: Int[Array, ""]
    log_probability: Float[Array, ""]
    state: State


class _Carry(NamedTuple):
    state: State
    token: Int[Array, ""]
    tokens: Int[Array, " max_length"]
    length: Int[Array, ""]
    log_probability: Float[Array, ""]
    ended: Bool[Array, ""]


def log_probabilities(
    logits: Float[Array, " tokens"],
) -> tuple[Float[Array, " tokens"], Bool[Array, ""]]:
    """ln softmax in at least float32, and whether that is a distribution: it is none where a logit
    is NaN or +∞, or all are −∞.
    """
    logits = logits.astype(state_dtype(logits))
    total = jax.nn.logsumexp(logits)
    return logits - total, jnp.isfinite(total)


def one_sequence(
    choose: Callable[[Any, Int[Array, ""], Float[Array, " tokens"]], Int[Array, ""]],
    options: Any,
    step: Step,
    state: State,
    begin: Int[Array, ""] | int,
    end: Int[Array, ""] | int,
    max_length: int,
) -> Decoded:
    """Tokens one after another, each by `choose(options, how many before it, ln P)`, until the end
    token.
    """
    check_count("max_length", max_length)
    begin, end = jnp.asarray(begin, jnp.int32), jnp.asarray(end, jnp.int32)
    state = jax.tree.map(jnp.asarray, state)
    check_step(step, state, begin, end)
    arrays, still = split_step(step)
    return _one_sequence(choose, still, max_length, options, arrays, state, begin, end)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _one_sequence(choose, still, max_length, options, arrays, state, begin, end) -> Decoded:
    step = joined_step(arrays, still)

    def running(carry: _Carry) -> Bool[Array, ""]:
        return (carry.length < max_length) & ~carry.ended

    def body(carry: _Carry) -> _Carry:
        state, logits = step(carry.state, carry.token)
        scores, fine = log_probabilities(logits)
        token = jnp.where(fine, choose(options, carry.length, scores).astype(jnp.int32), end)
        gain = jnp.where(fine, scores[token], jnp.nan)
        return _Carry(
            state,
            token,
            carry.tokens.at[carry.length].set(token),
            carry.length + 1,
            carry.log_probability + gain,
            token == end,
        )

    none = jnp.zeros((), jnp.int32)
    total = jnp.zeros((), scores_like(step, state, begin).dtype)
    padding = jnp.full(max_length, end)
    start = _Carry(state, begin, padding, none, total, jnp.zeros((), bool))
    found = jax.lax.while_loop(running, body, start)
    return Decoded(found.tokens, found.length, found.log_probability, found.state)


def scores_like(step: Step, state: State, token: Int[Array, ""]) -> jax.ShapeDtypeStruct:
    """Shape and dtype of a step's ln P."""
    return jax.eval_shape(lambda *given: log_probabilities(step(*given)[1])[0], state, token)


def split_step(step: Step) -> tuple[Any, tuple]:
    """The arrays in a step that is a tree, and the rest in a form that can be hashed."""
    arrays, still = eqx.partition(step, eqx.is_array)
    leaves, structure = jax.tree.flatten(still)
    return arrays, (tuple(leaves), structure)


def joined_step(arrays: Any, still: tuple) -> Step:
    leaves, structure = still
    return eqx.combine(arrays, jax.tree.unflatten(structure, leaves))
