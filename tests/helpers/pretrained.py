"""Tiny published models in `tests/reference/pretrained`, which `make_pretrained.py` writes: what is
compared with what their public classes compute. A new folder there is tested without a line here.
"""

import functools
import json
import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import seqmem
from seqmem.models._pretrained import layout
from seqmem.models._pretrained.registry import LAYOUTS

ROOT = pathlib.Path(__file__).parent.parent / "reference" / "pretrained"
NAMES = sorted(path.name for path in ROOT.iterdir())


@functools.cache
def expected(name):
    """What the public class computes."""
    with np.load(ROOT / name / "expected.npz") as file:
        return dict(file)


@functools.cache
def bytes_of(path):
    """Every tensor of a file as dtype, shape and bytes, read apart from seqmem's own reader."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    header.pop("__metadata__", None)
    return {
        name: (entry["dtype"], entry["shape"], body[slice(*entry["data_offsets"])])
        for name, entry in header.items()
    }


def float64_weights(name):
    """The tensors of a folder in float64."""
    tensors = bytes_of(ROOT / name / "model.safetensors")
    return {
        own: np.frombuffer(data, "<f4").reshape(shape).astype(float)
        for own, (_, shape, data) in tensors.items()
    }


def gradients(name, model):
    """Of the loss in the file, by the names of the file's tensors."""
    config = json.loads((ROOT / name / "config.json").read_text())
    family = LAYOUTS[config["model_type"]]
    parts = family.parts({**family.defaults, **config})
    tokens, weight = (jnp.swapaxes(expected(name)[key], 0, 1) for key in ("tokens", "weight"))

    @jax.jit
    @jax.grad
    def gradient(weights):
        filled = layout.fill(model, parts, weights.__getitem__)
        _, logits = seqmem.unroll(filled, None, tokens)
        return jnp.sum(weight * logits)

    names = layout.tensor_shapes(model, parts)
    weights = float64_weights(name)
    return gradient({own: jnp.asarray(weights[own]) for own in names})


@eqx.filter_jit
def greedy(model, tokens, number):
    """The most probable tokens after some [time, batch], and the logits before each, by steps of
    one token after all of the prompt at once.
    """
    state, logits = seqmem.unroll(model, None, tokens)

    def step(carry, _):
        state, last = carry
        token = jnp.argmax(last, -1)
        state, logits = seqmem.unroll(model, state, token[None])
        return (state, logits[0]), (token, last)

    _, (tokens, logits) = jax.lax.scan(step, (state, logits[-1]), None, length=number)
    return tokens, logits
