"""Files of a published model, as tests read and spoil them."""

import json

import jax
import numpy as np

CONFIG = {
    "model_type": "mamba",
    "vocab_size": 11,
    "hidden_size": 3,
    "num_hidden_layers": 1,
    "state_size": 2,
    "expand": 1,
    "conv_kernel": 2,
    "dtype": "float32",
}
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
NORM = "backbone.norm_f.weight"


def read(folder):
    """Header and bytes of the tensors."""
    data = (folder / WEIGHTS).read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def write(folder, header, body):
    """A file with this header, which may be text."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    (folder / WEIGHTS).write_bytes(len(text).to_bytes(8, "little") + text + body)


def change(folder, **entries):
    """Another config."""
    (folder / "config.json").write_text(json.dumps(CONFIG | entries))


def assert_same(model, other):
    assert jax.tree.structure(model) == jax.tree.structure(other)
    for leaf, own in zip(jax.tree.leaves(model), jax.tree.leaves(other), strict=True):
        assert leaf.dtype == own.dtype
        np.testing.assert_array_equal(leaf, own)
