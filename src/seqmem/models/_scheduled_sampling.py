"""Scheduled sampling."""

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._core.batching import vmap_batch
from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.problem import State
from ._attention import Lengths
from ._encoder_decoder import EncoderDecoder, Tokens


def scheduled_sampling(
    model: EncoderDecoder,
    source: Tokens,
    target: Tokens,
    probability: Float[Array, ""] | float,
    *,
    lengths: Lengths = None,
    key: PRNGKeyArray,
) -> Float[Array, "time *batch target_tokens"]:
    """The logits of `model(source, target)`, some target tokens replaced by the model's samples.

        z_t = a sample from softmax(logits_{t−1})    with the given probability
        z_t = the target's token                     otherwise, and at the first step

    No gradient passes through the samples, and there is no dropout. Each step needs the logits of
    the previous one, so the whole decoder runs step by step; a call of `model` is faster.

    Source: Bengio et al. 2015, arXiv:1506.03099. Differs: `probability` is that of a sample, 1 − ε
    in the paper; the schedule is the caller's.

    Args:
        model: the model.
        source: this, target and lengths as for a call of the model.
        target: see there.
        probability: of a sample, 0 <= probability <= 1.
        lengths: see there.
        key: random key for the samples.

    Raises:
        ValueError: for a probability outside of [0, 1].

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> from seqmem.models import EncoderDecoder, scheduled_sampling
        >>> keys = jax.random.split(jax.random.key(0), 4)
        >>> encoder, decoder = seqmem.GRU(3, 5, key=keys[0]), seqmem.GRU(3, 7, key=keys[1])
        >>> model = EncoderDecoder(encoder, decoder, (11, 13), 3, key=keys[2])
        >>> source, target = jnp.ones((6, 2), int), jnp.ones((8, 2), int)
        >>> scheduled_sampling(model, source, target, 0.25, key=keys[3]).shape
        (8, 2, 13)
    """
    if not isinstance(probability, Tracer) and not 0 <= float(probability) <= 1:
        raise bad_input(
            f"scheduled_sampling got probability={probability}.",
            "a probability, from 0 to 1.",
            "start from 0, which is teacher forcing, and raise it during training.",
        )
    source, target = jnp.asarray(source), jnp.asarray(target)
    batch = source.shape[1:]
    cell, state = model.encode(source, lengths=lengths)
    is_first = jnp.arange(len(target)) == 0

    def decode_one(
        cell: AbstractCell, state: State, target: Int[Array, " time"], key: PRNGKeyArray
    ) -> Float[Array, "time target_tokens"]:
        def step(carry, inputs):
            state, sample = carry
            token, is_first, key = inputs
            coin_key, sample_key = jax.random.split(key)
            is_sampled = jax.random.bernoulli(coin_key, probability) & ~is_first
            state, logits = model.step(cell, state, jnp.where(is_sampled, sample, token))
            sample = jax.random.categorical(sample_key, jax.lax.stop_gradient(logits))
            return (state, sample.astype(token.dtype)), logits

        carry = state, jnp.zeros((), target.dtype)
        keys = jax.random.split(key, len(target))
        return jax.lax.scan(step, carry, (target, is_first, keys))[1]

    keys = jax.random.split(key, batch)
    decode = vmap_batch(decode_one, cell, len(batch), in_axes=(0, 1, 0), out_axes=1)
    return decode(state, target, keys)
