"""Greedy decoding."""

import jax.numpy as jnp

from .._core.problem import State
from ._loop import Decoded, decode_one_sequence
from ._step import Begin, End, Step


def greedy(step: Step, state: State, *, begin: Begin, end: End = None, max_length: int) -> Decoded:
    """Greedy decoding: the most likely token of each step is the input of the next step.

        y_n = argmax_i P(i | y_0 … y_{n−1}),    y_0 = begin

    It decodes one sequence; `jax.vmap` gives a batch, which runs until its last sequence has ended.
    A sequence does not change after its end. A logit of −∞ forbids a token. Where the logits are no
    distribution (one is NaN or +∞, or all are −∞), the sequence ends with a log-probability of NaN.
    Of equally likely tokens, the one with the smallest id is chosen.

    Args:
        step: the model, (state, token) -> (state, logits), for one sequence. Arrays in a step that
            is a pytree, such as a method of an Equinox module or `jax.tree_util.Partial(fn, tree)`,
            are arguments of the compiled program. Another function object compiles a new program.
        state: the model's state, a pytree of arrays.
        begin: the first input, a begin token or a prompt of one or more tokens. It is not part of
            the result. A prompt runs token by token, and compiles one program for each length: for
            a long one, pass the state that `seqmem.unroll` returns for all tokens but the last, and
            begin with the last.
        end: the token that ends a sequence, or several of them; without one, None, all sequences
            run to `max_length`.
        max_length: the most tokens to decode, >= 1.

    Raises:
        ValueError: where an argument does not fit.

    Example:
        >>> import jax
        >>> from seqmem.decoding import greedy
        >>> def step(state, token):                              # counts up to 3, the end token
        ...     return state, jax.nn.one_hot(token + 1, 4)
        >>> decoded = greedy(step, (), begin=0, end=3, max_length=5)
        >>> decoded.tokens.tolist(), int(decoded.length)
        ([1, 2, 3, 3, 3], 3)
    """
    return decode_one_sequence("greedy", _most_likely, None, step, state, begin, end, max_length)


def _most_likely(options, position, scores):
    return jnp.argmax(scores)
