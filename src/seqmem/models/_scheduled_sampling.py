"""Training on what a model says itself."""

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .._core.batching import vmap_batch
from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.problem import State
from ._encoder_decoder import EncoderDecoder, Ids, Lengths


def scheduled_sampling(
    model: EncoderDecoder,
    source: Ids,
    lengths: Lengths,
    target: Ids,
    probability: Float[Array, ""] | float,
    *,
    key: PRNGKeyArray,
) -> Float[Array, "time *batch target_tokens"]:
    """The logits of `model(source, lengths, target)`, where each token of the target but the first
    is replaced with some probability by one that the model says in its place.

        z_t is drawn from softmax(logits_{t−1}) with the probability, else it is the target's

    No gradient passes through what is drawn. Nothing is dropped. A step needs the one before it, so
    all of it runs in order, and costs more than `model`.

    Source: Bengio et al. 2015, arXiv:1506.03099. Differs: the probability is that of the model's
    own token, 1 − ε of theirs; the schedule is the caller's.

    Args:
        model: the model.
        source: this, lengths and target as for `model`.
        lengths: likewise.
        target: likewise.
        probability: of a token of its own, from 0 to 1.
        key: for the draws.

    Raises:
        ValueError: for another probability.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> from seqmem.layers import EncoderDecoder, scheduled_sampling
        >>> keys = jax.random.split(jax.random.key(0), 4)
        >>> reads, tells = seqmem.GRU(3, 5, key=keys[0]), seqmem.GRU(3, 7, key=keys[1])
        >>> model = EncoderDecoder(reads, tells, (11, 13), 3, key=keys[2])
        >>> source, target = jnp.ones((6, 2), int), jnp.ones((8, 2), int)
        >>> scheduled_sampling(model, source, None, target, 0.25, key=keys[3]).shape
        (8, 2, 13)
    """
    if not isinstance(probability, Tracer) and not 0 <= float(probability) <= 1:
        raise bad_input(
            f"scheduled_sampling got probability={probability}.",
            "a probability, from 0 to 1.",
            "begin with 0, which is the model on the target as it is, and let it grow.",
        )
    source, target = jnp.asarray(source), jnp.asarray(target)
    batch = source.shape[1:]
    cell, state = model.encode(source, lengths)
    first = jnp.arange(len(target)) == 0

    def one(
        cell: AbstractCell, state: State, given: Int[Array, " time"], key: PRNGKeyArray
    ) -> Float[Array, "time target_tokens"]:
        def body(carry, here):
            state, drawn = carry
            token, first, key = here
            coin, draw = jax.random.split(key)
            own = jax.random.bernoulli(coin, probability) & ~first
            state, logits = model.step(cell, state, jnp.where(own, drawn, token))
            drawn = jax.random.categorical(draw, jax.lax.stop_gradient(logits))
            return (state, drawn.astype(token.dtype)), logits

        start = state, jnp.zeros((), given.dtype)
        keys = jax.random.split(key, len(given))
        return jax.lax.scan(body, start, (given, first, keys))[1]

    keys = jax.random.split(key, batch)
    return vmap_batch(one, cell, len(batch), in_axes=(0, 1, 0), out_axes=1)(state, target, keys)
