"""The loop of the decoders that extend one sequence, greedy and sampled."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._core.problem import State
from .._core.validation import check_count
from ._step import (
    Begin,
    End,
    Step,
    as_arguments,
    is_end,
    log_probabilities,
    log_probability_dtype,
    read_prompt,
    short_repr,
)

Choose = Callable[[Any, Int[Array, ""], Float[Array, " tokens"]], Int[Array, ""]]


class Decoded(NamedTuple):
    """A decoded sequence; under `jax.vmap` each field has the batch axes in front.

    Attributes:
        tokens: the decoded tokens, without `begin`; after the end of the sequence, the first of
            the end tokens (−1 for `end=None`).
        length: how many tokens were decoded, the end token included.
        log_probability: ln P(tokens) of the model; NaN where its logits were no distribution.
        state: the model's state after the step that gave the last token. To continue, pass it with
            `begin=tokens[length − 1]`.
    """

    tokens: Int[Array, " max_length"]
    length: Int[Array, ""]
    log_probability: Float[Array, ""]
    state: State

    def __repr__(self) -> str:
        return short_repr(self)


class _Carry(NamedTuple):
    state: State
    token: Int[Array, ""]
    tokens: Int[Array, " max_length"]
    length: Int[Array, ""]
    log_probability: Float[Array, ""]
    is_finished: Bool[Array, ""]


def decode_one_sequence(
    decoder: str,
    choose: Choose,
    options: Any,
    step: Step,
    state: State,
    begin: Begin,
    end: End,
    max_length: int,
) -> Decoded:
    """Decode token by token until an end token.

    Args:
        decoder: its name, in messages.
        choose: `choose(options, position, ln P)` is the next token.
        options: arrays that `choose` needs.
        step: this and all below as for `greedy`.
        state: see there.
        begin: see there.
        end: see there.
        max_length: see there.

    Raises:
        ValueError: where an argument does not fit.
    """
    check_count(decoder, "max_length", max_length, remedy="pass the most tokens to decode.")
    state, prompt, end = as_arguments(decoder, step, state, begin, end)
    return _decode(choose, step, max_length, options, state, prompt, end)


@eqx.filter_jit
def _decode(choose, step, max_length, options, state, prompt, end) -> Decoded:
    state, token = read_prompt(step, state, prompt)

    def is_running(carry: _Carry) -> Bool[Array, ""]:
        return (carry.length < max_length) & ~carry.is_finished

    def extend(carry: _Carry) -> _Carry:
        state, logits = step(carry.state, carry.token)
        scores, is_valid = log_probabilities(logits)
        token = choose(options, carry.length, scores).astype(jnp.int32)
        token = jnp.where(is_valid, token, end[0])
        return _Carry(
            state,
            token,
            carry.tokens.at[carry.length].set(token),
            carry.length + 1,
            carry.log_probability + jnp.where(is_valid, scores[token], jnp.nan),
            is_end(token, end),
        )

    start = _Carry(
        state,
        token,
        jnp.full(max_length, end[0]),
        jnp.zeros((), jnp.int32),
        jnp.zeros((), log_probability_dtype(step, state, token)),
        jnp.zeros((), bool),
    )
    final = jax.lax.while_loop(is_running, extend, start)
    return Decoded(final.tokens, final.length, final.log_probability, final.state)
