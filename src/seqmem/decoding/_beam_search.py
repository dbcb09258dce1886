"""Beam search."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._core.problem import State
from .._core.step import select
from .._core.validation import check_count
from ._step import (
    Begin,
    End,
    Step,
    as_arguments,
    check_number,
    is_end,
    log_probabilities,
    log_probability_dtype,
    read_prompt,
    short_repr,
)


class Beam(NamedTuple):
    """The sequences of a beam search, best first. Where the search found fewer sequences than the
    beam is wide, the rest have length 0 and log-probability −∞.

    Attributes:
        tokens: this, length, log_probability and state as in `Decoded`, the beam axis in front.
        length: see there.
        log_probability: see there.
        score: the score that orders the sequences; NaN comes after all numbers.
        state: see there.
    """

    tokens: Int[Array, "beam max_length"]
    length: Int[Array, " beam"]
    log_probability: Float[Array, " beam"]
    score: Float[Array, " beam"]
    state: State

    def __repr__(self) -> str:
        return short_repr(self)


class _Carry(NamedTuple):
    state: State
    token: Int[Array, " beam"]
    tokens: Int[Array, "beam max_length"]
    length: Int[Array, " beam"]
    log_probability: Float[Array, " beam"]
    is_finished: Bool[Array, " beam"]
    position: Int[Array, ""]


def beam_search(
    step: Step,
    state: State,
    *,
    begin: Begin,
    end: End = None,
    max_length: int,
    width: int,
    alpha: Float[Array, ""] | float = 0.0,
) -> Beam:
    """Beam search: keep the `width` most likely sequences, and return them ordered by score.

        score = ln P(y_1 … y_n) / ((5 + n) / 6)^α,    n: length, the end token included

    At each step every unfinished sequence is extended by every token, and the most likely
    extensions stay. A finished sequence keeps its place in the beam, so the search narrows, and
    stops when all are finished or have `max_length` tokens. A width of 1 is `greedy`; a width of
    tokens^max_length finds the best sequence of all. Batches, the end of a sequence and logits that
    are no distribution are treated as in `greedy`.

    Cost per step: `width` steps of the model. The sequences share the arrays in `step`, but each
    has its own `state`: put constants, such as encoder outputs, into the step.
    Source: Wu et al. 2016, arXiv:1609.08144, equation 14. Differs: no coverage penalty, and no
    pruning by distance from the best.

    Args:
        step: this, state, begin, end and max_length as for `greedy`.
        state: see there.
        begin: see there.
        end: see there.
        max_length: see there.
        width: sequences in the beam, >= 1.
        alpha: length penalty, >= 0. At 0 the most likely sequence is best, which is often short.

    Raises:
        ValueError: where an argument is out of range, or does not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from seqmem.decoding import beam_search
        >>> table = jnp.log(jnp.array([[0.0, 0.6, 0.4], [0.5, 0.0, 0.5], [0.0, 0.0, 1.0]]))
        >>> def step(state, token):
        ...     return state, table[token]
        >>> beam = beam_search(step, (), begin=0, end=2, max_length=4, width=2)
        >>> beam.tokens[0].tolist(), round(float(jnp.exp(beam.log_probability[0])), 3)
        ([2, 2, 2, 2], 0.4)
    """
    check_count("beam_search", "max_length", max_length, remedy="pass the most tokens to decode.")
    check_count("beam_search", "width", width, remedy="pass the sequences to keep; 4 is usual.")
    check_number(
        "beam_search",
        "alpha",
        alpha,
        lambda value: 0 <= value < float("inf"),
        "a number, at least 0.",
        "leave it out for the most likely sequence; larger numbers prefer longer ones.",
    )
    state, prompt, end = as_arguments("beam_search", step, state, begin, end)
    return _search(step, max_length, width, state, prompt, end, jnp.asarray(alpha))


@eqx.filter_jit
def _search(step, max_length, width, state, prompt, end, alpha) -> Beam:
    state, token = read_prompt(step, state, prompt)
    dtype = log_probability_dtype(step, state, token)
    start = _Carry(
        jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (width, *leaf.shape)), state),
        jnp.broadcast_to(token, width),
        jnp.full((width, max_length), end[0]),
        jnp.zeros(width, jnp.int32),
        jnp.full(width, -jnp.inf, dtype).at[0].set(0),  # one sequence, the empty one
        jnp.zeros(width, bool),
        jnp.zeros((), jnp.int32),
    )

    def is_running(carry: _Carry) -> Bool[Array, ""]:
        is_live = ~carry.is_finished & (carry.log_probability > -jnp.inf)
        return (carry.position < max_length) & is_live.any()

    final = jax.lax.while_loop(is_running, lambda carry: _extend(step, end, carry), start)
    exists = final.log_probability != -jnp.inf
    length = jnp.where(exists, final.length, 0)
    penalty = ((5 + length).astype(dtype) / 6) ** alpha.astype(dtype)
    score = final.log_probability / penalty
    order = jnp.argsort(-_comparable(score), stable=True)
    tokens = jnp.where(exists[:, None], final.tokens, end[0])
    return jax.tree.map(
        lambda leaf: leaf[order],
        Beam(tokens, length, final.log_probability, score, final.state),
    )


def _extend(step: Step, end: Int[Array, " ends"], carry: _Carry) -> _Carry:
    """Extend every sequence by every token, and keep the best extensions."""
    width = len(carry.token)
    new_state, logits = jax.vmap(step)(carry.state, carry.token)
    gains, is_valid = jax.vmap(log_probabilities)(logits)
    # Of one sequence at most `width` extensions can be among the best `width` of all.
    gains, choices = jax.lax.top_k(gains, min(width, logits.shape[-1]))

    # A sequence that is finished, or ends here because its logits are no distribution, has one
    # extension, in the first column: the end token.
    has_one = carry.is_finished | ~is_valid
    is_first = jnp.arange(gains.shape[-1]) == 0
    gains = jnp.where(is_valid[:, None], gains, jnp.nan)
    gains = jnp.where(carry.is_finished[:, None], 0, gains)
    choices = jnp.where(has_one[:, None], end[0], choices)
    totals = carry.log_probability[:, None] + gains
    totals = jnp.where(has_one[:, None] & ~is_first, -jnp.inf, totals)

    # A finished sequence keeps its place: its rank is above that of every other extension.
    is_found = carry.is_finished & jnp.isfinite(carry.log_probability)
    ranks = jnp.where(is_found[:, None] & is_first, jnp.inf, _comparable(totals))
    ranks, indices = jax.lax.top_k(ranks.ravel(), width)
    parents = indices // gains.shape[-1]
    totals = jnp.where(ranks == -jnp.inf, -jnp.inf, totals.ravel()[indices])
    tokens = choices.ravel()[indices]

    was_finished = carry.is_finished[parents]
    state = jax.vmap(select)(carry.is_finished, carry.state, new_state)
    return _Carry(
        jax.tree.map(lambda leaf: leaf[parents], state),
        tokens,
        carry.tokens[parents].at[:, carry.position].set(tokens),
        carry.length[parents] + (~was_finished).astype(jnp.int32),
        totals,
        was_finished | is_end(tokens, end),
        carry.position + 1,
    )


def _comparable(scores: Float[Array, "..."]) -> Float[Array, "..."]:
    """Replace NaN, so that it comes after every number and before −∞, which is impossible."""
    return jnp.where(jnp.isnan(scores), jnp.finfo(scores.dtype).min, scores)
