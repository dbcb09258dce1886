"""The models of `translate`, their loss, and translation by beam search."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

import seqmem
from seqmem import data, decoding, layers, models

from .translation_data import BEGIN, END, PAD, Languages, evaluation_batches

MAX_LENGTH = 60  # words of a translation
BEAM_WIDTH, ALPHA = 5, 1.0


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes of the model and of its training."""

    embedding: int = 128
    hidden: int = 256
    dropout: float = 0.3
    batch: int = 64
    learning_rate: float = 2e-3


def decoder_without_attention(embedding: int, values: int, hidden: int, keys: jax.Array):
    return seqmem.GRU(embedding, hidden, key=keys[0])


def luong_decoder(embedding: int, values: int, hidden: int, keys: jax.Array):
    cell = seqmem.GRU(embedding, hidden, key=keys[0])
    return models.LuongDecoder(cell, models.DotAttention(hidden, values, key=keys[1]))


def bahdanau_decoder(embedding: int, values: int, hidden: int, keys: jax.Array):
    cell = seqmem.GRU(embedding + values, hidden, key=keys[0])
    attention = models.AdditiveAttention(hidden, values, hidden, key=keys[1])
    return models.BahdanauDecoder(cell, attention)


DECODERS = {
    "none": decoder_without_attention,
    "dot": luong_decoder,
    "additive": bahdanau_decoder,
}


def make_translator(
    kind: str, languages: Languages, sizes: Sizes, key: jax.Array
) -> models.EncoderDecoder:
    """A bidirectional GRU as encoder, and a GRU as decoder, with this kind of attention."""
    embedding, hidden = sizes.embedding, sizes.hidden
    keys = jax.random.split(key, 5)
    encoder = layers.Bidirectional(
        seqmem.GRU(embedding, hidden, key=keys[0]), seqmem.GRU(embedding, hidden, key=keys[1])
    )
    decoder = DECODERS[kind](embedding, 2 * hidden, hidden, keys[2:4])
    vocabulary_sizes = len(languages.source), len(languages.target)
    return models.EncoderDecoder(
        encoder, decoder, vocabulary_sizes, embedding, key=keys[4], dropout=sizes.dropout
    )


def sum_of_losses(model: models.EncoderDecoder, source, target, key=None):
    """The sum of −ln P over all words and ENDs of a batch, and their number."""
    previous = jnp.concatenate([jnp.full_like(target[:1], BEGIN), target[:-1]])
    logits = model(source, previous, lengths=(source != PAD).sum(0), key=key)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, target)
    return jnp.where(target != PAD, losses, 0).sum(), (target != PAD).sum()


def loss(model: models.EncoderDecoder, key: jax.Array, batch: tuple):
    """The loss for `seqmem.training`. Its carry is the random key of dropout."""
    key, batch_key = jax.random.split(key)
    return *sum_of_losses(model, *batch, batch_key), key


@jax.jit
def beam_search_batch(model: models.EncoderDecoder, source, lengths) -> decoding.Beam:
    """Beam search for each source of a batch."""

    def translate(source, length):
        step, state = model.start_decoding(source, lengths=length)
        return decoding.beam_search(
            step,
            state,
            begin=BEGIN,
            end=END,
            max_length=MAX_LENGTH,
            width=BEAM_WIDTH,
            alpha=ALPHA,
        )

    return jax.vmap(translate, in_axes=(1, 0))(source, lengths)


def translate_sentences(
    model: models.EncoderDecoder, languages: Languages, sources: list[np.ndarray], batch: int = 100
) -> list[str]:
    """The best translation of each sentence."""
    translations = [""] * len(sources)
    for examples in evaluation_batches(list(map(len, sources)), batch):
        beam = beam_search_batch(model, *data.pad_batch(sources, examples))
        for i, tokens in zip(examples.indices, np.asarray(beam.tokens[:, 0]), strict=True):
            if i != data.NO_EXAMPLE:
                translations[i] = " ".join(languages.target.decode(tokens))
    return translations
