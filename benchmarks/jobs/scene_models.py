"""The models of `describe_image`: a convolutional encoder, and a decoder with attention."""

import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

import seqmem
from seqmem.tasks import Scene, Scenes


class Encoder(eqx.Module):
    """A convolutional network from an image to a feature map, with one position for each window of
    the size of a slot. `name` classifies a single image by the features of one window.

    The windows do not overlap. With half-overlapping windows most of them see parts of several
    objects, and the number of objects of a kind is learned far more slowly.

    Args:
        layers: (size, stride, channels) of each convolution.
        slot_size: pixels of a slot's side, a multiple of the product of the strides.
        kinds: number of kinds of objects.
        features: of one position of the map.
        key: random key for the initial parameters.
    """

    convolutions: list[eqx.nn.Conv2d]
    window: eqx.nn.Conv2d
    kinds: eqx.nn.Linear

    def __init__(self, layers: Sequence[tuple], slot_size: int, kinds: int, features: int, *, key):
        keys, channels_in = jax.random.split(key, len(layers) + 2), 1
        self.convolutions = []
        for (size, stride, channels), layer_key in zip(layers, keys, strict=False):
            layer = eqx.nn.Conv2d(channels_in, channels, size, stride, "SAME", key=layer_key)
            self.convolutions.append(layer)
            channels_in = channels
        size = slot_size // math.prod(stride for _, stride, _ in layers)
        self.window = eqx.nn.Conv2d(channels_in, features, size, size, key=keys[-2])
        self.kinds = eqx.nn.Linear(features, kinds, key=keys[-1])

    def __call__(self, image: Float[Array, "height width"]) -> Float[Array, "rows columns feature"]:
        x = image[None]
        for layer in self.convolutions:
            x = jax.nn.relu(layer(x))
        return jnp.moveaxis(jax.nn.relu(self.window(x)), 0, -1)

    def name(self, image: Float[Array, "slot slot"]) -> Float[Array, " kind"]:
        """The logits of the kind of a single image."""
        return self.kinds(self(image)[0, 0])


class Describer(eqx.Module):
    """An image captioning model: a decoder predicts the description word by word, and attends to
    the positions of the encoder's map.

        h_j = relu(A x_j + a)                           x_j: positions of encoder(image)
        s_0 = tanh(B mean(h) + b)
        s_t, (y_t, c_t) = decoder(s_{t−1}, E_{z_{t−1}})     attends to h
        P(z_t | z_{<t}, image) = softmax(F [y_t; c_t] + f)

    The encoder is not trained here.
    Source: Xu et al. 2015, arXiv:1502.03044, "soft" attention, with s_0 also from the mean of
    the positions. Differs: a GRU, a layer over the positions, and a linear readout.

    Args:
        encoder: of images.
        words: size of the vocabulary.
        size: features of a word's embedding, units of attention, and half of the state's features.
        key: random key for the initial parameters.
    """

    encoder: Encoder
    position: eqx.nn.Linear
    initial_state: eqx.nn.Linear
    words: seqmem.layers.Embedding
    decoder: seqmem.models.BahdanauDecoder
    logits: eqx.nn.Linear

    def __init__(self, encoder: Encoder, words: int, size: int, *, key):
        keys, features, state = jax.random.split(key, 6), encoder.kinds.in_features, 2 * size
        self.encoder = encoder
        self.initial_state = eqx.nn.Linear(features, state, key=keys[0])
        self.words = seqmem.layers.Embedding(words, size, key=keys[1])
        self.decoder = seqmem.models.BahdanauDecoder(
            seqmem.GRU(size + features, state, key=keys[2]),
            seqmem.models.AdditiveAttention(state, features, size, key=keys[3]),
        )
        self.logits = eqx.nn.Linear(state + features, words, key=keys[4])
        self.position = eqx.nn.Linear(features, features, key=keys[5])

    def positions(self, image: Float[Array, "height width"]) -> Float[Array, "position feature"]:
        features = jax.lax.stop_gradient(self.encoder(image))
        features = features.reshape(-1, features.shape[-1])
        return jax.nn.relu(jax.vmap(self.position)(features))

    def attend_to(
        self, positions: Float[Array, "position *batch feature"]
    ) -> tuple[seqmem.AbstractCell, tuple]:
        """The decoder's cell for an image, and its state before the first word."""
        mean = positions.mean(0)
        state = jnp.tanh(mean @ self.initial_state.weight.T + self.initial_state.bias)
        return self.decoder.attend_to(positions), self.decoder.extend_state(state, mean.shape[:-1])

    def __call__(
        self, images: Float[Array, "batch height width"], words: Int[Array, "time batch"]
    ) -> Float[Array, "time batch word"]:
        """The logits of each word, given the words before it."""
        cell, state = self.attend_to(jax.vmap(self.positions)(images).swapaxes(0, 1))
        _, vectors = seqmem.unroll(self.words, (), _previous_words(words))
        _, outputs = seqmem.unroll(cell, state, vectors)
        return jax.vmap(jax.vmap(self.logits))(jnp.concatenate(outputs, -1))

    def step(self, cell: seqmem.AbstractCell, state: tuple, word: Int[Array, ""]):
        """One step of decoding, for `seqmem.decoding`, with the cell of one image."""
        state, outputs = cell(state, self.words.project(word))
        return state, self.logits(jnp.concatenate(outputs))

    def attention(
        self, image: Float[Array, "height width"], words: Int[Array, " time"]
    ) -> Float[Array, "time position"]:
        """The attention weight of each position for the prediction of each word."""
        positions = self.positions(image)
        _, state = self.attend_to(positions)
        _, vectors = seqmem.unroll(self.words, (), _previous_words(words))
        return self.decoder.weights(positions, state, vectors)


def _previous_words(words: Int[Array, "time *batch"]) -> Int[Array, "time *batch"]:
    """The decoder's inputs: Scenes.END, then all words but the last."""
    return jnp.concatenate([jnp.full_like(words[:1], Scenes.END), words[:-1]])


def naming_loss(encoder: Encoder, state: tuple, scene: Scene) -> tuple:
    """The sum of −ln P(kind) over single images; a batch is one step of time."""
    scene = jax.tree.map(lambda leaf: leaf[0], scene)
    logits = jax.vmap(encoder.name)(scene.images)
    losses = optax.softmax_cross_entropy(logits, scene.counts.astype(logits.dtype))
    return losses.sum(), losses.size, state


def describing_loss(model: Describer, state: tuple, scene: Scene) -> tuple:
    """The sum of −ln P(word) over all words and one Scenes.END; a batch is one step of time."""
    scene = jax.tree.map(lambda leaf: leaf[0], scene)
    logits = model(scene.images, scene.words)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, scene.words)
    is_valid = jnp.cumsum(scene.words == Scenes.END, 0) <= 1
    return jnp.where(is_valid, losses, 0).sum(), is_valid.sum(), state
