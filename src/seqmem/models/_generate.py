"""Text from a language model: a prompt at once, then token by token."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._core.arguments import check_lengths, check_run
from .._core.batching import vmap_batch
from .._core.cell import project
from .._core.errors import bad_input
from .._core.problem import State
from .._core.validation import check_count
from ..decoding import Decoded, RepetitionPenalty, greedy, sample
from ..decoding._repetition import check_penalty
from ..decoding._sample import check_restrictions
from ._language_model import LanguageModel, run_trunk
from ._token_ids import as_token_ids

Prompt = Int[Array | np.ndarray, "time *batch"] | list[int]
Lengths = Int[Array | np.ndarray, "*batch"] | list[int] | None
Number = Float[Array, ""] | float


def prefill(
    model: LanguageModel,
    state: State | None,
    prompt: Prompt,
    *,
    lengths: Lengths = None,
    **options: Any,
) -> tuple[State, Float[Array, "*batch tokens"]]:
    """Read a prompt at once: the state after it, and the logits of the token that follows.

    It is `seqmem.unroll` but for the logits of the other steps, which are not computed.

    Args:
        model: the model.
        state: the state before the prompt; None is `model.init_state()`.
        prompt: tokens, time first, at least one.
        lengths: the length of each prompt of a batch, at least 1; what follows is padding.
        options: `method`, how the body is evaluated, and what `seqmem.unroll` takes.

    Raises:
        ValueError: where an argument does not fit.

    Example:
        >>> import jax, seqmem
        >>> keys = jax.random.split(jax.random.key(0))
        >>> model = seqmem.models.LanguageModel(seqmem.GRU(3, 5, key=keys[0]), 11, key=keys[1])
        >>> state, logits = seqmem.models.prefill(model, None, [3, 1, 4, 1, 5])
        >>> state, logits = model(state, jax.numpy.argmax(logits))            # one step further
        >>> logits.shape
        (11,)
    """
    prompt, lengths = _checked_prompt("prefill", model, prompt, lengths)
    state, ys = run_trunk(model, state, prompt, lengths=lengths, **options)
    return state, project(model.head, _last(ys, lengths), model.head.init_state())


def generate(
    model: LanguageModel,
    prompt: Prompt,
    *,
    max_length: int,
    key: PRNGKeyArray | None = None,
    state: State | None = None,
    temperature: Number = 1.0,
    top_k: int | None = None,
    top_p: Number = 1.0,
    repetition_penalty: Number = 1.0,
    end: Int[Array | np.ndarray, "*ends"] | list[int] | int | None = None,
    lengths: Lengths = None,
) -> Decoded:
    """Continue prompts: the most likely tokens, or, with a key, tokens that are drawn.

    The prompt is read at once by `seqmem.unroll`, then each token is one step of the model, whose
    state does not grow. Every prompt of a batch gets the tokens that it gets alone. One program is
    compiled for each shape of the prompt, `max_length`, `top_k`, and the sets of options that are
    in use; the numbers of temperature, top_p and penalty do not count.

    To continue further, pass the last token as the prompt, and the state that is returned.

    Args:
        model: the model; its body has a single step.
        prompt: tokens, time first, at least one, batch axes after it.
        max_length: the most tokens to generate, the prompt not counted, >= 1.
        key: random key. Each prompt of a batch has its own, `jax.random.split(key, batch)`; pass
            keys of the shape of the batch to choose them. None is greedy decoding.
        state: the state before the prompt; None is `model.init_state()`.
        temperature: >= 0, as for `decoding.sample`; 0 is greedy decoding.
        top_k: as for `decoding.sample`.
        top_p: see there.
        repetition_penalty: θ of `decoding.RepetitionPenalty`, > 0, for tokens of the prompt and of
            the result; 1 changes nothing.
        end: the token that ends a sequence, or several of them; None is no end.
        lengths: the length of each prompt of a batch, at least 1; what follows is padding.

    Returns:
        A `decoding.Decoded`, whose tokens are [max_length, *batch], time first. Its state is the
        model's, batch axes in front. Its log-probability is that of the model's distribution, with
        the repetition penalty and without the temperature.

    Raises:
        ValueError: where an argument does not fit.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> keys = jax.random.split(jax.random.key(0))
        >>> model = seqmem.models.LanguageModel(seqmem.GRU(3, 5, key=keys[0]), 11, key=keys[1])
        >>> prompts = jnp.array([[3, 1], [4, 5], [2, 0]])                     # time, batch
        >>> text = seqmem.models.generate(
        ...     model, prompts, lengths=[3, 2], max_length=6, end=[0, 10], key=keys[1], top_p=0.9
        ... )
        >>> text.tokens.shape, text.length.shape
        ((6, 2), (2,))
    """
    prompt, lengths = _checked_prompt("generate", model, prompt, lengths)
    check_count("generate", "max_length", max_length, remedy="pass the most tokens to generate.")
    if not model.can_step:
        raise bad_input(
            f"generate got a model whose body, a {type(model.body).__name__}, has no single step.",
            "a body that does not need the future.",
            "leave out seqmem.layers.Bidirectional, and other layers that read a sequence whole.",
        )
    check_run(model, state, prompt)
    is_traced = isinstance(temperature, Tracer)
    if not is_traced and not 0 <= float(temperature) < float("inf"):
        raise bad_input(
            f"generate got temperature={temperature!r}.",
            "a number of at least 0.",
            "pass 0 for the most likely tokens, or a number such as 0.8.",
        )
    is_greedy = not is_traced and float(temperature) == 0
    if key is None and not is_greedy:
        if is_traced or temperature != 1 or top_k is not None or not _is_one(top_p):
            raise bad_input(
                f"generate got temperature={temperature}, top_k={top_k}, top_p={top_p} and no key.",
                "a key, where tokens are drawn.",
                "pass key=jax.random.key(0), or leave the three out for the most likely tokens.",
            )
        is_greedy = True
    check_restrictions("generate", top_k, top_p)
    check_penalty("generate", "repetition_penalty", repetition_penalty)
    keys = None if key is None or is_greedy else _keys(key, prompt.shape[1:])
    options = _Options(
        None if is_greedy else jnp.asarray(temperature),
        None if is_greedy or _is_one(top_p) else jnp.asarray(top_p),
        None if _is_one(repetition_penalty) else jnp.asarray(repetition_penalty),
        None if end is None else jnp.asarray(end),
        max_length,
        None if is_greedy else top_k,
    )
    return _generate(model, state, prompt, lengths, keys, options)


class _Options(eqx.Module):
    """The options in use; None in place of the others."""

    temperature: Float[Array, ""] | None
    top_p: Float[Array, ""] | None
    penalty: Float[Array, ""] | None
    end: Int[Array, "*ends"] | None
    max_length: int = eqx.field(static=True)
    top_k: int | None = eqx.field(static=True)


@eqx.filter_jit
def _generate(model, state, prompt, lengths, keys, options: _Options) -> Decoded:
    lengths_before = None if lengths is None else lengths - 1  # the decoder reads the last token
    state, _ = run_trunk(model, state, prompt[:-1], lengths=lengths_before)
    batch = prompt.shape[1:]
    if lengths is None:
        lengths = jnp.full(batch, len(prompt))
    decode = vmap_batch(functools.partial(_continue, options), model, len(batch))
    decoded = decode(state, jnp.moveaxis(prompt, 0, -1), _last(prompt, lengths), lengths, keys)
    return decoded._replace(tokens=jnp.moveaxis(decoded.tokens, -1, 0))


def _continue(options: _Options, model, state, prompt, token, length, key) -> Decoded:
    """The decoded tokens of one prompt; `state` is that before its last token."""
    step, limits = model, {"begin": token, "end": options.end, "max_length": options.max_length}
    if options.penalty is not None:
        seen = jnp.where(jnp.arange(len(prompt)) < length, prompt, -1)
        step = RepetitionPenalty(model, options.penalty)
        state = step.init_state(state, vocabulary_size=model.vocabulary_size, seen=seen)
    if options.temperature is None:
        decoded = greedy(step, state, **limits)
    else:
        top_p = 1.0 if options.top_p is None else options.top_p
        decoded = sample(
            step,
            state,
            **limits,
            temperature=options.temperature,
            top_k=options.top_k,
            top_p=top_p,
            key=key,
        )
    return decoded if options.penalty is None else decoded._replace(state=decoded.state[0])


def _last(ys: Array, lengths: Int[Array, "*batch"] | None) -> Array:
    """The entry of the last step of each sequence."""
    if lengths is None:
        return ys[-1]
    index = jnp.maximum(jnp.asarray(lengths) - 1, 0)
    index = index.reshape(1, *index.shape, *[1] * (ys.ndim - 1 - index.ndim))
    return jnp.take_along_axis(ys, index, axis=0)[0]


def _is_one(value: Number) -> bool:
    return isinstance(value, int | float) and value == 1


def _keys(key: PRNGKeyArray, batch: tuple[int, ...]) -> PRNGKeyArray:
    """A key for each prompt.

    Raises:
        ValueError: for keys of another shape or kind.
    """
    dtype = jnp.result_type(key)
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        if key.shape == batch:
            return key
        if not key.shape:
            return jax.random.split(key, batch)
    raise bad_input(
        f"generate got a key that is {dtype} of shape {jnp.shape(key)}.",
        f"one key from jax.random.key, or keys of shape {batch}, one for each prompt.",
        "pass key=jax.random.key(0).",
    )


def _checked_prompt(
    owner: str, model: LanguageModel, prompt: Prompt, lengths: Lengths
) -> tuple[Int[Array, "time *batch"], Int[Array, "*batch"] | None]:
    """The prompt and its lengths as arrays.

    Raises:
        ValueError: where one does not fit, or a prompt is empty.
    """
    shape = np.shape(prompt)
    if not shape or not shape[0]:
        raise bad_input(
            f"{owner} got a prompt of shape {shape}.",
            "one token or more, [time, *batch].",
            "begin with a token such as the end token, or a line feed.",
        )
    valid = None
    if lengths is not None:
        lengths = lengths if isinstance(lengths, jax.Array) else np.asarray(lengths)
        check_lengths(lengths, shape[0], shape[1:])
        if not isinstance(lengths, Tracer) and (np.asarray(lengths) < 1).any():
            raise bad_input(
                f"{owner} got lengths of at least {np.min(lengths)}.",
                "one token or more in every prompt.",
                "begin every prompt with a token such as the end token, or a line feed.",
            )
        valid = np.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 1)) < lengths
    ids = as_token_ids(owner, "the prompt", prompt, model.vocabulary_size, valid=valid)
    return ids.astype(jnp.int32), None if lengths is None else jnp.asarray(lengths)
