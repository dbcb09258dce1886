"""Sampled decoding."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._core.errors import bad_input
from .._core.problem import State
from .._core.validation import check_count
from ._loop import Decoded, decode_one_sequence
from ._step import Begin, End, Step, check_number


def sample(
    step: Step,
    state: State,
    *,
    begin: Begin,
    end: End = None,
    max_length: int,
    temperature: Float[Array, ""] | float = 1.0,
    top_k: int | None = None,
    top_p: Float[Array, ""] | float = 1.0,
    key: PRNGKeyArray,
) -> Decoded:
    """Sampled decoding: each token is drawn from the model's distribution.

        p_i ∝ P(i | y_0 … y_{n−1})^{1/temperature},    y_0 = begin
        y_n ~ p, restricted to the `top_k` most likely tokens, and of these to the smallest set of
              the most likely whose share of their probability is at least `top_p`

    For many samples from one state, map over keys. Batches, the end of a sequence and logits that
    are no distribution are treated as in `greedy`. The log-probability is that of the model's P.

    Source: Holtzman et al. 2020, arXiv:1904.09751, for `top_p` (nucleus sampling). Differs: none.

    Args:
        step: this, state, begin, end and max_length as for `greedy`.
        state: see there.
        begin: see there.
        end: see there.
        max_length: see there.
        temperature: > 0; below 1, likely tokens become more likely.
        top_k: how many tokens may be drawn, >= 1; None is all of them.
        top_p: the least share of probability of the tokens that may be drawn, in (0, 1].
        key: random key for the sequence.

    Raises:
        ValueError: where an argument is out of range, or does not fit.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from seqmem.decoding import sample
        >>> def step(state, token):
        ...     return state, jnp.log(jnp.array([0.5, 0.4, 0.1]))
        >>> draw = lambda key: sample(step, (), begin=0, max_length=7, top_p=0.8, key=key)
        >>> decoded = jax.vmap(draw)(jax.random.split(jax.random.key(0), 100))
        >>> sorted(set(decoded.tokens.ravel().tolist())), decoded.tokens.shape
        ([0, 1], (100, 7))
    """
    check_number(
        "sample",
        "temperature",
        temperature,
        lambda value: 0 < value < float("inf"),
        "a number above 0.",
        "call greedy for the most likely token.",
    )
    check_restrictions("sample", top_k, top_p)
    dtype = jnp.result_type(key)
    if not jnp.issubdtype(dtype, jax.dtypes.prng_key) or key.shape:
        raise bad_input(
            f"sample got a key that is {dtype} of shape {jnp.shape(key)}.",
            "one key from jax.random.key.",
            "map over several keys: jax.vmap(lambda key: sample(step, state, ..., key=key))(keys).",
        )
    has_top_p = not (isinstance(top_p, int | float) and top_p == 1)
    options = _Options(
        key, jnp.asarray(temperature), jnp.asarray(top_p), top_k=top_k, has_top_p=has_top_p
    )
    return decode_one_sequence("sample", _draw, options, step, state, begin, end, max_length)


def check_restrictions(owner: str, top_k: int | None, top_p: Float[Array, ""] | float) -> None:
    """Refuse a top_k or top_p out of range.

    Raises:
        ValueError: for such a number.
    """
    if top_k is not None:
        check_count(owner, "top_k", top_k, remedy="leave it out to draw from all tokens.")
    check_number(
        owner,
        "top_p",
        top_p,
        lambda value: 0 < value <= 1,
        "a probability in (0, 1].",
        "leave it out to draw from all tokens; top_k=1 draws the most likely one.",
    )


class _Options(eqx.Module):
    key: PRNGKeyArray
    temperature: Float[Array, ""]
    top_p: Float[Array, ""]
    top_k: int | None = eqx.field(static=True)
    has_top_p: bool = eqx.field(static=True)


def _draw(
    options: _Options, position: Int[Array, ""], scores: Float[Array, " tokens"]
) -> Int[Array, ""]:
    key = jax.random.fold_in(options.key, position)
    scores = scores / options.temperature.astype(scores.dtype)
    if options.top_k is None and not options.has_top_p:
        return jax.random.categorical(key, scores)
    scores, tokens = jax.lax.top_k(scores, min(options.top_k or scores.size, scores.size))
    if options.has_top_p:
        share_before = jnp.cumsum(jax.nn.softmax(scores)[:-1])
        top_p = options.top_p.astype(share_before.dtype)
        is_needed = (share_before < top_p) | (top_p >= 1)
        scores = scores.at[1:].set(jnp.where(is_needed, scores[1:], -jnp.inf))
    return tokens[jax.random.categorical(key, scores)]
