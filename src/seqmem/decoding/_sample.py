"""Tokens drawn from the model's distribution, or from a part of it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._core.errors import bad_input
from .._core.problem import State
from ._checks import check_count, check_number
from ._loop import Decoded, Step, one_sequence


def sample(
    step: Step,
    state: State,
    key: PRNGKeyArray,
    *,
    begin: Int[Array, ""] | int,
    end: Int[Array, ""] | int,
    max_length: int,
    temperature: Float[Array, ""] | float = 1.0,
    top_k: int | None = None,
    top_p: Float[Array, ""] | float = 1.0,
) -> Decoded:
    """Each token is drawn, and is the input of the next step, until it is the end token.

        p_i ∝ P(i | y_0 … y_{n−1})^{1/temperature}
        y_n is drawn from p on the `top_k` likeliest tokens, and among these on the smallest set of
        the likeliest that holds `top_p` of what they have together

    Many sequences from one state: map it over keys. What is said in `greedy` of batches, ends and
    logits holds here too; the log-probability is that of P, whatever it was drawn from.

    Source: the smallest set is "nucleus sampling", Holtzman et al. 2020, arXiv:1904.09751.

    Args:
        step: this and all others that `greedy` has as there.
        state: likewise.
        key: of the whole sequence.
        begin: likewise.
        end: likewise.
        max_length: likewise.
        temperature: > 0; below 1 the likely become likelier. At 0 it would be `greedy`.
        top_k: how many tokens may be drawn, >= 1; None is all. 1 is `greedy`.
        top_p: how much probability they hold at least, in (0, 1].

    Raises:
        ValueError: where an argument is out of range, and as `greedy` does.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from seqmem.decoding import sample
        >>> def step(state, token):
        ...     return state, jnp.log(jnp.array([0.5, 0.4, 0.1]))
        >>> draw = lambda key: sample(step, (), key, begin=0, end=2, max_length=7, top_p=0.8)
        >>> found = jax.vmap(draw)(jax.random.split(jax.random.key(0), 100))
        >>> sorted(set(found.tokens.ravel().tolist())), found.tokens.shape
        ([0, 1], (100, 7))
    """
    if top_k is not None:
        check_count("top_k", top_k)
    check_number(
        "temperature",
        temperature,
        lambda value: 0 < value < float("inf"),
        "a number above 0.",
        "call greedy for the likeliest token.",
    )
    check_number(
        "top_p",
        top_p,
        lambda value: 0 < value <= 1,
        "a probability in (0, 1].",
        "leave it out to draw from all tokens; top_k=1 draws from one.",
    )
    dtype = jnp.result_type(key)
    if not jnp.issubdtype(dtype, jax.dtypes.prng_key) or key.shape:
        raise bad_input(
            f"key is {dtype} of shape {jnp.shape(key)}.",
            "one key of jax.random.key.",
            "map over several: jax.vmap(lambda key: sample(step, state, key, ...))(keys).",
        )
    whole = isinstance(top_p, int | float) and top_p == 1
    choose = _Draw(top_k, whole)
    options = key, jnp.asarray(temperature), jnp.asarray(top_p)
    return one_sequence(choose, options, step, state, begin, end, max_length)


class _Draw(NamedTuple):
    """A token of the `top_k` likeliest, and of these from all (`whole`) or the smallest set."""

    top_k: int | None
    whole: bool

    def __call__(self, options: Any, position: Int[Array, ""], scores: Float[Array, " tokens"]):
        key, temperature, top_p = options
        own = jax.random.fold_in(key, position)
        scores = scores / temperature.astype(scores.dtype)
        if self.top_k is None and self.whole:
            return jax.random.categorical(own, scores)
        count = min(self.top_k or scores.size, scores.size)
        scores, tokens = jax.lax.top_k(scores, count)
        if not self.whole:
            before = jnp.cumsum(jax.nn.softmax(scores)[:-1])
            held = (before < top_p.astype(before.dtype)) | (top_p >= 1)
            scores = scores.at[1:].set(jnp.where(held, scores[1:], -jnp.inf))
        return tokens[jax.random.categorical(own, scores)]
