"""Bodies of language models of equal size, by name of their memory."""

from collections.abc import Callable

import jax
from jaxtyping import PRNGKeyArray, PyTree

import seqmem
from seqmem import blocks, layers, models

NUM_HEADS = 4
WINDOW = 256  # inputs that attention sees
VOCABULARY = 256  # bytes

Mixer = Callable[[int, PRNGKeyArray], seqmem.AbstractCell]
MIXERS: dict[str, Mixer] = {
    "GRU": lambda size, key: seqmem.GRU(size, size, key=key),
    "LSTM": lambda size, key: seqmem.LSTM(size, size, key=key),
    "MinGRU": lambda size, key: seqmem.MinGRU(size, size, key=key),
    "Mamba-2": lambda size, key: blocks.mamba2_block(
        size, 2 * size, num_heads=2 * NUM_HEADS, key_size=size // NUM_HEADS, key=key
    ),
    "Gated DeltaNet": lambda size, key: blocks.gated_delta_net_block(
        size, size, num_heads=NUM_HEADS, key=key
    ),
    "attention": lambda size, key: seqmem.SlidingWindowAttention(
        size, num_heads=NUM_HEADS, window=WINDOW, key=key
    ),
}


def language_model(
    mixer: str, size: int, num_layers: int, parameters: int, key: PRNGKeyArray
) -> models.LanguageModel:
    """A model of the next byte. The hidden size of its feed-forward layers is chosen so that it has
    so many parameters, to a hidden unit of each layer.

    Raises:
        ValueError: where the memories alone have more.
    """
    smallest = jax.eval_shape(lambda key: _model(mixer, size, num_layers, 1, key), key)
    rest = parameters - num_entries(smallest)
    hidden = 1 + rest // (3 * size * num_layers)
    if hidden < 1:
        raise ValueError(f"{parameters} parameters: {-rest} too few for {mixer} of size {size}.")
    return _model(mixer, size, num_layers, hidden, key)


def num_entries(tree: PyTree) -> int:
    """The number of entries of all arrays."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree) if hasattr(leaf, "size"))


def _model(
    mixer: str, size: int, num_layers: int, hidden: int, key: PRNGKeyArray
) -> models.LanguageModel:
    model_key, *keys = jax.random.split(key, 1 + 2 * num_layers)
    body = []
    for index in range(num_layers):
        memory = MIXERS[mixer](size, keys[2 * index])
        feed_forward = layers.GatedMLP(size, hidden, key=keys[2 * index + 1])
        for layer in (memory, feed_forward):
            body.append(layers.Residual(layers.Stack([layers.RMSNorm(size), layer])))
    norm = layers.RMSNorm(size)
    return models.LanguageModel(layers.Stack(body), VOCABULARY, norm=norm, key=model_key)
