"""The loss of a language model, without the logits of all steps in memory."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from .._core.cell import project
from .._core.errors import bad_input
from .._core.precision import as_precision, precision, state_dtype
from .._core.problem import Output, State
from .._core.validation import check_count
from ._language_model import Head, LanguageModel, run_trunk
from ._token_ids import as_token_ids, as_wide_ids

Tokens = Int[Array | np.ndarray, "time *batch"]
Weights = Float[Array, "time *batch"]

LOGITS_AT_ONCE = 2**24  # 64 MiB in float32


def next_token_loss(
    model: LanguageModel,
    state: State | None,
    batch: tuple[Tokens, Tokens],
    *,
    weights: Float[Array | np.ndarray, "time *batch"]
    | Bool[Array | np.ndarray, "time *batch"]
    | None = None,
    chunk_size: int | None = None,
    lengths: Int[Array | np.ndarray, "*batch"] | list[int] | None = None,
    **options: Any,
) -> tuple[Float[Array, ""], Float[Array, ""], State]:
    """The cross-entropy of the next token, as sum and weight: a loss for `training.TruncatedBPTT`.

        total = Σ_t w_t · −ln P(target_t | input_1 … input_t)        in nats, over time and batch
        weight = Σ_t w_t

    The head and the loss run over chunks of time, and again in the backward pass, so the logits
    [time, *batch, tokens] are in memory for one chunk only. The sum, and the gradient of the head
    over the chunks, are in at least float32.

    Args:
        model: the model.
        state: the state before the first token; None is `model.init_state()`.
        batch: (inputs, targets), tokens [time, *batch]. In a text, the target of a token is the
            next one.
        weights: w; None is 1. Where it is 0, the target is not read.
        chunk_size: steps whose logits are in memory at once, > 0; None is as many as have at most
            2^24 logits, at least one step.
        lengths: valid steps of each sequence; the steps after them have weight 0.
        options: `method`, how the body is evaluated, and what `seqmem.unroll` takes: resets,
            perturbations, remat_every.

    Returns:
        The total, the weight and the state after the last step.

    Raises:
        ValueError: where an argument does not fit.

    Example:
        >>> import jax, seqmem
        >>> keys = jax.random.split(jax.random.key(0))
        >>> model = seqmem.models.LanguageModel(seqmem.GRU(3, 5, key=keys[0]), 11, key=keys[1])
        >>> text = jax.random.randint(keys[1], (8, 2), 0, 11)                 # time, batch
        >>> total, weight, state = seqmem.models.next_token_loss(model, None, (text[:-1], text[1:]))
        >>> float(weight), bool(total / weight > 0)
        (14.0, True)
    """
    inputs, targets, weights, chunk_size = _checked(model, batch, weights, lengths, chunk_size)
    state, ys = run_trunk(model, state, inputs, lengths=lengths, **options)
    head = model.head
    dtype = state_dtype(head)
    weights = None if weights is None else weights.astype(dtype)
    total = _total(head, ys, targets, weights, chunk_size)
    weight = jnp.asarray(targets.size, dtype) if weights is None else weights.sum()
    return total, weight, state


def token_losses(
    logits: Float[Array, "*batch tokens"], targets: Int[Array | np.ndarray, "*batch"]
) -> Float[Array, "*batch"]:
    """The cross-entropy −ln P(target) of each token, in nats; divide by ln 2 for bits.

    It is in at least float32, and NaN where the target is no token of the vocabulary.

    Example:
        >>> import jax.numpy as jnp, seqmem
        >>> losses = seqmem.models.token_losses(jnp.zeros((7, 4)), jnp.ones(7, int))
        >>> [round(float(loss / jnp.log(2)), 3) for loss in losses[:2]]        # bits
        [2.0, 2.0]
    """
    logits = logits.astype(state_dtype(logits))
    targets = as_wide_ids(targets)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    is_token = (targets >= 0) & (targets < logits.shape[-1])
    return jnp.where(is_token, losses, jnp.nan)


def _total(
    head: Head,
    ys: Output,
    targets: Int[Array, "time *batch"],
    weights: Weights | None,
    chunk_size: int,
) -> Float[Array, ""]:
    time, dtype = len(targets), precision(head)
    if chunk_size >= time:
        return _chunk_total(head, ys, targets, weights)
    weights = jnp.ones_like(targets, state_dtype(head)) if weights is None else weights
    chunks = -(-time // chunk_size)
    size = -(-time // chunks)  # chunks of equal size, so that few steps are filled up
    wide_head = as_precision(head, state_dtype(head))  # its gradient is summed over the chunks

    def split(leaf: Array) -> Array:
        filled = jnp.pad(leaf, [(0, chunks * size - time)] + [(0, 0)] * (leaf.ndim - 1))
        return filled.reshape(chunks, size, *leaf.shape[1:])

    @jax.checkpoint
    def chunk_total(wide_head: Head, *chunk: Array) -> Float[Array, ""]:
        return _chunk_total(as_precision(wide_head, dtype), *chunk)

    def add(total: Float[Array, ""], chunk: tuple[Array, ...]) -> tuple[Float[Array, ""], None]:
        return total + chunk_total(wide_head, *chunk), None

    zero = jnp.zeros((), weights.dtype)
    return jax.lax.scan(add, zero, (split(ys), split(targets), split(weights)))[0]


def _chunk_total(
    head: Head, ys: Output, targets: Int[Array, "time *batch"], weights: Weights | None
) -> Float[Array, ""]:
    logits = project(head, ys, head.init_state())
    if weights is None:
        return token_losses(logits, targets).sum()
    losses = token_losses(logits, targets)  # NaN where a target in the padding is no token
    return jnp.where(weights != 0, losses * weights, 0).sum()


def _checked(
    model: LanguageModel, batch: Any, weights: Any, lengths: Any, chunk_size: int | None
) -> tuple[Array, Array, Array | None, int]:
    """The arguments as arrays, the weights including those of the lengths.

    Raises:
        ValueError: where one does not fit.
    """
    owner, tokens = "next_token_loss", model.vocabulary_size
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise bad_input(
            f"{owner} got a batch that is a {type(batch).__name__}.",
            "a pair (inputs, targets).",
            "pass the weights as a keyword, and the resets too.",
        )
    inputs, targets = batch
    if np.shape(inputs) != np.shape(targets) or not np.ndim(inputs):
        raise bad_input(
            f"{owner} got inputs of shape {np.shape(inputs)} and targets of {np.shape(targets)}.",
            "tokens of one shape, [time, *batch].",
            "pass text[:-1] and text[1:].",
        )
    shape = np.shape(targets)
    if weights is not None and np.shape(weights) != shape:
        raise bad_input(
            f"{owner} got weights of shape {np.shape(weights)}.",
            f"the shape of the targets, {shape}.",
            "give every target a weight, 0 at padding.",
        )
    valid = None if weights is None else weights != 0
    weights = None if weights is None else jnp.asarray(weights)
    if lengths is not None:
        is_array = isinstance(lengths, Tracer | jax.Array)
        lengths = lengths if is_array else np.asarray(lengths)
        steps = np.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 1))
        in_length = steps < lengths
        valid = in_length if valid is None else valid & in_length
        dtype = state_dtype(model.head)
        in_length = jnp.broadcast_to(in_length, shape).astype(dtype)
        weights = in_length if weights is None else weights.astype(dtype) * in_length
    valid = valid if valid is None or isinstance(valid, Tracer) else np.broadcast_to(valid, shape)
    inputs = as_token_ids(owner, "inputs", inputs, tokens, valid=valid)
    targets = as_token_ids(owner, "targets", targets, tokens, valid=valid)
    if chunk_size is None:
        chunk_size = max(1, LOGITS_AT_ONCE // max(1, tokens * int(np.prod(shape[1:]))))
    check_count(owner, "chunk_size", chunk_size, remedy="leave it out, or choose one, such as 64.")
    return inputs, targets, weights, chunk_size
