"""The likeliest token, again and again."""

import jax.numpy as jnp
from jaxtyping import Array, Int

from .._core.problem import State
from ._loop import Decoded, Step, one_sequence


def greedy(
    step: Step,
    state: State,
    *,
    begin: Int[Array, ""] | int,
    end: Int[Array, ""] | int,
    max_length: int,
) -> Decoded:
    """The likeliest token of each step is the input of the next, until it is the end token.

        y_n = argmax_i P(i | y_0 … y_{n−1}),    y_0 = begin

    For one sequence; `jax.vmap` gives a batch, which runs until its last sequence has ended, and
    nothing of a sequence changes after its own end. A logit of −∞ forbids a token. Where the logits
    are no distribution (one is NaN or +∞, or all are −∞) the sequence ends, and its log-probability
    is NaN. Among equals the smallest id is taken.

    Args:
        step: (state, token) -> (state, logits), of one sequence. Arrays in it, as in a method of an
            Equinox module or in `equinox.Partial(model.step, cell)`, are arguments of the compiled
            program; a function that was made anew is compiled anew.
        state: a tree of arrays.
        begin: the first step's input, which is not part of the result.
        end: the token that ends a sequence, and fills the result behind it.
        max_length: how many tokens at most, >= 1.

    Raises:
        ValueError: for max_length < 1, or a step that does not give back a state like the one it
            was given, and logits.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from seqmem.decoding import greedy
        >>> def step(state, token):                              # one up, and 3 is the end
        ...     return state, jax.nn.one_hot(token + 1, 4)
        >>> found = greedy(step, (), begin=0, end=3, max_length=5)
        >>> found.tokens.tolist(), int(found.length)
        ([1, 2, 3, 3, 3], 3)
    """
    return one_sequence(_likeliest, None, step, state, begin, end, max_length)


def _likeliest(_, position, scores):
    return jnp.argmax(scores)
