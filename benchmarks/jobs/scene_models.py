"""What describes a picture: convolutions that look at it, and a cell that tells what they saw."""

import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

import seqmem
from seqmem.tasks.scenes import END, Scene


class Encoder(eqx.Module):
    """A map of a picture: in each place, what is seen of a window the size of a cell, and a little
    around it. `kinds` names what is in a window.

    Windows do not overlap. Where they do, by half, most show parts of several things, and how many
    there are of a kind is learned far more slowly.

    Args:
        layers: (size, stride, channels) of each convolution.
        cell: pixels of a cell's side, a multiple of all strides together.
        kinds: how many there are.
        features: entries of one place of the map.
        key: for the initial parameters.
    """

    convolutions: list[eqx.nn.Conv2d]
    window: eqx.nn.Conv2d
    kinds: eqx.nn.Linear

    def __init__(self, layers: Sequence[tuple], cell: int, kinds: int, features: int, *, key):
        keys, seen = jax.random.split(key, len(layers) + 2), 1
        self.convolutions = []
        for (size, stride, channels), own in zip(layers, keys, strict=False):
            layer = eqx.nn.Conv2d(seen, channels, size, stride, "SAME", key=own)
            self.convolutions.append(layer)
            seen = channels
        size = cell // math.prod(stride for _, stride, _ in layers)
        self.window = eqx.nn.Conv2d(seen, features, size, size, key=keys[-2])
        self.kinds = eqx.nn.Linear(features, kinds, key=keys[-1])

    def __call__(self, picture: Float[Array, "height width"]) -> Float[Array, "rows columns seen"]:
        x = picture[None]
        for layer in self.convolutions:
            x = jax.nn.relu(layer(x))
        return jnp.moveaxis(jax.nn.relu(self.window(x)), 0, -1)

    def name(self, image: Float[Array, "cell cell"]) -> Float[Array, " kind"]:
        """The logits of the kind of a single image."""
        return self.kinds(self(image)[0, 0])


class Describer(eqx.Module):
    """A map of a picture, told word by word by a cell that attends to its places.

        h_j = relu(A x_j + a)                           x: encoder(picture), its places in rows
        s_0 = tanh(B mean(h) + b)
        s_t, (y_t, c_t) = decoder(s_{t−1}, E_{z_{t−1}})     over h
        P(z_t | z_{<t}, picture) = softmax(F [y_t; c_t] + f)

    The encoder is not trained here.
    Source: Xu et al. 2015, arXiv:1502.03044, "soft" attention, where s_0 also is made from the mean
    of the places. Differs: a GRU, a layer over the places, and a linear readout.

    Args:
        encoder: of pictures.
        words: how many there are.
        size: entries of a word's vector, units of attention, and half of the state's.
        key: for the initial parameters.
    """

    encoder: Encoder
    seen: eqx.nn.Linear
    begin: eqx.nn.Linear
    words: seqmem.layers.Embedding
    decoder: seqmem.models.BahdanauDecoder
    told: eqx.nn.Linear

    def __init__(self, encoder: Encoder, words: int, size: int, *, key):
        keys, seen, state = jax.random.split(key, 6), encoder.kinds.in_features, 2 * size
        self.encoder = encoder
        self.begin = eqx.nn.Linear(seen, state, key=keys[0])
        self.words = seqmem.layers.Embedding(words, size, key=keys[1])
        self.decoder = seqmem.models.BahdanauDecoder(
            seqmem.GRU(size + seen, state, key=keys[2]),
            seqmem.models.AdditiveAttention(state, seen, size, key=keys[3]),
        )
        self.told = eqx.nn.Linear(state + seen, words, key=keys[4])
        self.seen = eqx.nn.Linear(seen, seen, key=keys[5])

    def places(self, picture: Float[Array, "height width"]) -> Float[Array, "place seen"]:
        seen = jax.lax.stop_gradient(self.encoder(picture))
        return jax.nn.relu(jax.vmap(self.seen)(seen.reshape(-1, seen.shape[-1])))

    def over(self, places: Float[Array, "place *batch seen"]) -> tuple[seqmem.AbstractCell, tuple]:
        """The decoder's cell, which attends to some places, and the state it begins from."""
        mean = places.mean(0)
        state = jnp.tanh(mean @ self.begin.weight.T + self.begin.bias)
        return self.decoder.attend_to(places), (state, jnp.zeros_like(mean))

    def __call__(
        self, pictures: Float[Array, "batch height width"], words: Int[Array, "time batch"]
    ):
        """The logits of each word, after the words before it."""
        cell, state = self.over(jax.vmap(self.places)(pictures).swapaxes(0, 1))
        before = jnp.concatenate([jnp.full_like(words[:1], END), words[:-1]])
        _, vectors = seqmem.unroll(self.words, (), before)
        _, shown = seqmem.unroll(cell, state, vectors)
        return jax.vmap(jax.vmap(self.told))(jnp.concatenate(shown, -1))

    def step(self, cell: seqmem.AbstractCell, state: tuple, word: Int[Array, ""]):
        """What the functions of `seqmem.decoding` want, of a cell over one picture."""
        state, shown = cell(state, self.words.project(word))
        return state, self.told(jnp.concatenate(shown))

    def attention(
        self, picture: Float[Array, "height width"], words: Int[Array, " time"]
    ) -> Float[Array, "time place"]:
        """The weight of each place in the context for each of these words."""
        places = self.places(picture)
        cell, state = self.over(places)
        before = jnp.concatenate([jnp.full_like(words[:1], END), words[:-1]])
        _, (states, _) = seqmem.unroll(cell, state, self.words.E[before])
        queries = jnp.concatenate([state[0][None], states[:-1]])
        attention = self.decoder.attention
        return attention(queries, attention.attend_to(places))[1]


def naming_loss(encoder: Encoder, state: tuple, scene: Scene) -> tuple:
    """−ln P(kind) of single images, summed; a batch is one step of time."""
    scene = jax.tree.map(lambda leaf: leaf[0], scene)
    logits = jax.vmap(encoder.name)(scene.pictures)
    losses = optax.softmax_cross_entropy(logits, scene.counts.astype(logits.dtype))
    return losses.sum(), losses.size, state


def telling_loss(model: Describer, state: tuple, scene: Scene) -> tuple:
    """−ln P(word) of all words and one end, summed; a batch is one step of time."""
    scene = jax.tree.map(lambda leaf: leaf[0], scene)
    logits = model(scene.pictures, scene.words)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, scene.words)
    asked = jnp.cumsum(scene.words == END, 0) <= 1
    return jnp.where(asked, losses, 0).sum(), asked.sum(), state
