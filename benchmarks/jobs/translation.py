"""What `translate` trains, and on what: sentences as numbers, the models, and their loss."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import seqmem
from seqmem import data, decoding, layers, models

PAD, BEGIN, END = data.WordVocabulary.PAD, data.WordVocabulary.BEGIN, data.WordVocabulary.END
LEAST = 2  # times that a word comes in the training set, to be known
BUCKETS = 5  # lengths that batches are padded to, and so programs
LONGEST = 60  # words of a translation
WIDTH, ALPHA = 5, 1.0  # of the beam search


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Of the vectors of words, of the states, and what is dropped."""

    embedding: int = 128
    hidden: int = 256
    dropout: float = 0.3
    batch: int = 64
    learning_rate: float = 2e-3


class Pairs(NamedTuple):
    """Sentences of one language beside those of another; the target's with their end."""

    source: list[np.ndarray]
    target: list[np.ndarray]

    @property
    def times(self) -> list[int]:
        return [max(map(len, pair)) for pair in zip(*self, strict=True)]


class Languages(NamedTuple):
    """Vocabularies of the source and of the target."""

    source: data.WordVocabulary
    target: data.WordVocabulary

    @classmethod
    def of(cls, source: Sequence, target: Sequence) -> "Languages":
        return cls(*(data.WordVocabulary.of(side, least=LEAST) for side in (source, target)))

    def encode(self, source: Sequence, target: Sequence) -> Pairs:
        return Pairs(
            list(map(self.source.encode, source)),
            [np.append(self.target.encode(words), END).astype(np.int32) for words in target],
        )


def batch_at(pairs: Pairs, buckets: data.Buckets) -> Callable[[jax.Array, int], tuple]:
    """[time, batch] of both languages at a position."""

    def batch(key: jax.Array, position: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = buckets(key, position)
        source, target = (data.padded(side, chosen)[0] for side in pairs)
        return source, target

    return batch


def no_attention(size: int, read: int, hidden: int, keys: jax.Array):
    return seqmem.GRU(size, hidden, key=keys[0])


def dot_after(size: int, read: int, hidden: int, keys: jax.Array):
    cell = seqmem.GRU(size, hidden, key=keys[0])
    return models.LuongDecoder(cell, models.DotAttention(hidden, read, key=keys[1]))


def additive_before(size: int, read: int, hidden: int, keys: jax.Array):
    cell = seqmem.GRU(size + read, hidden, key=keys[0])
    attention = models.AdditiveAttention(hidden, read, hidden, key=keys[1])
    return models.BahdanauDecoder(cell, attention)


DECODERS = {"none": no_attention, "dot": dot_after, "additive": additive_before}


def translator(
    kind: str, languages: Languages, sizes: Sizes, key: jax.Array
) -> models.EncoderDecoder:
    """A bidirectional GRU that reads, a GRU that tells, and attention between them or none."""
    size, hidden = sizes.embedding, sizes.hidden
    keys = jax.random.split(key, 5)
    encoder = layers.Bidirectional(
        seqmem.GRU(size, hidden, key=keys[0]), seqmem.GRU(size, hidden, key=keys[1])
    )
    decoder = DECODERS[kind](size, 2 * hidden, hidden, keys[2:4])
    tokens = len(languages.source), len(languages.target)
    return models.EncoderDecoder(encoder, decoder, tokens, size, key=keys[4], dropout=sizes.dropout)


def losses(model: models.EncoderDecoder, source, target, key=None):
    """−ln P of all words and ends of a batch, and how many there are."""
    before = jnp.concatenate([jnp.full_like(target[:1], BEGIN), target[:-1]])
    logits = model(source, before, lengths=(source != PAD).sum(0), key=key)
    each = optax.softmax_cross_entropy_with_integer_labels(logits, target)
    return jnp.where(target != PAD, each, 0).sum(), (target != PAD).sum()


def loss(model: models.EncoderDecoder, key: jax.Array, batch: tuple):
    """As `seqmem.training` wants it; what is carried is the key of dropout."""
    key, own = jax.random.split(key)
    return *losses(model, *batch, own), key


@jax.jit
def translated(model: models.EncoderDecoder, source, lengths) -> decoding.Beam:
    """Beam search for each source of a batch."""

    def translate(source, length):
        step, state = model.start_decoding(source, lengths=length)
        return decoding.beam_search(
            step, state, begin=BEGIN, end=END, max_length=LONGEST, width=WIDTH, alpha=ALPHA
        )

    return jax.vmap(translate, in_axes=(1, 0))(source, lengths)


def translations(
    model: models.EncoderDecoder, languages: Languages, sources: list[np.ndarray], batch: int = 100
) -> list[str]:
    """The best translation of each sentence."""
    found = [""] * len(sources)
    for chosen in batches(list(map(len, sources)), batch):
        beam = translated(model, *data.padded(sources, chosen))
        for i, tokens in zip(chosen.examples, np.asarray(beam.tokens[:, 0]), strict=True):
            if i != data.NONE:
                found[i] = " ".join(languages.target.decode(tokens))
    return found


def batches(lengths: list[int], batch: int) -> Iterator[data.Batch]:
    """Each example once, those of one length together."""
    buckets = data.Buckets.of(lengths, batch=batch, count=BUCKETS)
    for position in range(len(buckets)):
        yield buckets(jax.random.key(0), position)
