"""The best of many sequences that are kept beside each other."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._core.problem import State
from .._core.step import select
from ._checks import check_count, check_number, check_step
from ._loop import Step, joined_step, log_probabilities, scores_like, split_step


class Beam(NamedTuple):
    """Sequences, the best first. Where there are fewer, the rest have length 0 and probability 0.

    Attributes:
        tokens: this and those below as in `Decoded`, with the beam's axis in front.
        length: likewise.
        log_probability: likewise.
        score: by which they are ordered; those that are NaN come after all others.
        state: likewise.
    """

    tokens: Int[Array, "beam max_length"]
    length: Int[Array, " beam"]
    log_probability: Float[Array, " beam"]
    score: Float[Array, " beam"]
    state: State


class _Carry(NamedTuple):
    state: State
    token: Int[Array, " beam"]
    tokens: Int[Array, "beam max_length"]
    length: Int[Array, " beam"]
    log_probability: Float[Array, " beam"]
    ended: Bool[Array, " beam"]
    made: Int[Array, ""]


def beam_search(
    step: Step,
    state: State,
    *,
    begin: Int[Array, ""] | int,
    end: Int[Array, ""] | int,
    max_length: int,
    width: int,
    alpha: Float[Array, ""] | float = 0.0,
) -> Beam:
    """Search for the sequence of the best score, `width` sequences at a time.

        score = ln P(y_1 … y_n) / ((5 + n) / 6)^α,    n with the end token

    In each step every sequence that has not ended is continued by every token, and the likeliest
    are kept. One that has ended keeps its place, so that the search narrows, and is over with the
    last; one that reaches `max_length` is compared as it is. A width of 1 is `greedy`, and one of
    at least tokens^max_length finds the best there is. What is said in `greedy` of batches, ends
    and logits holds here too.

    Cost: of each step, `width` steps of the model. All sequences share the arrays in `step`, so
    what does not change, such as an encoder's states, is better there than in `state`.
    Source: Wu et al. 2016, arXiv:1609.08144, equation 14. Differs: no coverage penalty, and no
    pruning by distance from the best.

    Args:
        step: this and all others that `greedy` has as there.
        state: likewise.
        begin: likewise.
        end: likewise.
        max_length: likewise.
        width: how many sequences, >= 1.
        alpha: >= 0. At 0 the likeliest sequence is the best, which is often a short one.

    Raises:
        ValueError: where an argument is out of range, and as `greedy` does.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from seqmem.decoding import beam_search
        >>> table = jnp.log(jnp.array([[0.0, 0.6, 0.4], [0.5, 0.0, 0.5], [0.0, 0.0, 1.0]]))
        >>> def step(state, token):
        ...     return state, table[token]
        >>> found = beam_search(step, (), begin=0, end=2, max_length=4, width=2)
        >>> found.tokens[0].tolist(), round(float(jnp.exp(found.log_probability[0])), 3)
        ([2, 2, 2, 2], 0.4)
    """
    check_count("max_length", max_length)
    check_count("width", width)
    check_number(
        "alpha",
        alpha,
        lambda value: 0 <= value < float("inf"),
        "a number, at least 0.",
        "leave it out for the likeliest sequence; larger numbers prefer longer ones.",
    )
    begin, end = jnp.asarray(begin, jnp.int32), jnp.asarray(end, jnp.int32)
    state = jax.tree.map(jnp.asarray, state)
    check_step(step, state, begin, end)
    arrays, still = split_step(step)
    return _search(still, max_length, width, arrays, state, begin, end, jnp.asarray(alpha))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _search(still, max_length, width, arrays, state, begin, end, alpha) -> Beam:
    step = joined_step(arrays, still)
    dtype = scores_like(step, state, begin).dtype
    start = _Carry(
        jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (width, *leaf.shape)), state),
        jnp.broadcast_to(begin, width),
        jnp.full((width, max_length), end),
        jnp.zeros(width, jnp.int32),
        jnp.full(width, -jnp.inf, dtype).at[0].set(0),  # at first there is one, the empty sequence
        jnp.zeros(width, bool),
        jnp.zeros((), jnp.int32),
    )

    def running(carry: _Carry) -> Bool[Array, ""]:
        live = ~carry.ended & (carry.log_probability > -jnp.inf)
        return (carry.made < max_length) & live.any()

    found = jax.lax.while_loop(running, functools.partial(_continued, step, end), start)
    there = found.log_probability != -jnp.inf
    length = jnp.where(there, found.length, 0)
    mean = ((5 + length).astype(dtype) / 6) ** alpha.astype(dtype)
    score = found.log_probability / mean
    order = jnp.argsort(-_comparable(score), stable=True)
    tokens = jnp.where(there[:, None], found.tokens, end)
    return jax.tree.map(
        lambda leaf: leaf[order],
        Beam(tokens, length, found.log_probability, score, found.state),
    )


def _continued(step: Step, end: Int[Array, ""], carry: _Carry) -> _Carry:
    """Every sequence is continued, and the best continuations are the new beam."""
    width = len(carry.token)
    after, logits = jax.vmap(step)(carry.state, carry.token)
    gains, fine = jax.vmap(log_probabilities)(logits)
    gains, choices = jax.lax.top_k(gains, min(width, logits.shape[-1]))  # no other can be kept

    # What has ended, or ends here since there is no distribution, goes on in one way: first.
    over = carry.ended | ~fine
    first = jnp.arange(gains.shape[-1]) == 0
    gains = jnp.where(carry.ended[:, None], 0, jnp.where(fine[:, None], gains, jnp.nan))
    choices = jnp.where(over[:, None], end, choices)
    totals = carry.log_probability[:, None] + gains
    totals = jnp.where(over[:, None] & ~first, -jnp.inf, totals)
    kept = (carry.ended & jnp.isfinite(carry.log_probability))[:, None] & first
    ranks = jnp.where(kept, jnp.inf, _comparable(totals))

    ranks, places = jax.lax.top_k(ranks.ravel(), width)
    parents = places // gains.shape[-1]
    tokens, ended = choices.ravel()[places], carry.ended[parents]
    state = jax.vmap(select)(carry.ended, carry.state, after)
    totals = jnp.where(ranks == -jnp.inf, -jnp.inf, totals.ravel()[places])
    return _Carry(
        jax.tree.map(lambda leaf: leaf[parents], state),
        tokens,
        carry.tokens[parents].at[:, carry.made].set(tokens),
        carry.length[parents] + (~ended).astype(jnp.int32),
        totals,
        ended | (tokens == end),
        carry.made + 1,
    )


def _comparable(scores: Float[Array, "..."]) -> Float[Array, "..."]:
    """NaN comes after every number and before what is impossible."""
    return jnp.where(jnp.isnan(scores), jnp.finfo(scores.dtype).min, scores)
