"""Character models around many cells, and the text they are trained on: for `gradient_norms` and
`window`.
"""

import argparse
import functools
import pathlib
import shlex
from collections.abc import Callable, Iterable
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax
from jaxtyping import PRNGKeyArray

import seqmem
from seqmem import data, models

from ..common.character_model import language_model
from ..common.options import positive_float, positive_int
from ..common.records import Row, provenance

LONGEST_LAG = 100  # characters, of the chrono biases
GAIN = 1.5  # of "RNN gauss": above 1, a wide network without input is chaotic
WINDOW = 64  # steps of truncated backpropagation in training
OPTIMISER = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(3e-3))
PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "optax", "numpy")


def gaussian_rnn(inputs: int, width: int, *, key, gain: float = GAIN) -> seqmem.AbstractCell:
    """An RNN whose recurrent entries are drawn from N(0, gain²/width)."""
    U = gain * jax.random.normal(jax.random.fold_in(key, 1), (width, width)) / width**0.5
    return eqx.tree_at(lambda cell: cell.U, seqmem.RNN(inputs, width, key=key), U)


CELLS: dict[str, Callable[..., seqmem.AbstractCell]] = {
    "RNN": seqmem.RNN,
    "RNNx2": lambda *sizes, key: eqx.tree_at(
        lambda cell: cell.U, seqmem.RNN(*sizes, key=key), replace_fn=lambda U: 2 * U
    ),
    "LSTM": seqmem.LSTM,
    "GRU": seqmem.GRU,
    "RNN gauss": gaussian_rnn,
    "LSTM forget 0": lambda *sizes, key: seqmem.LSTM(*sizes, forget_bias=0.0, key=key),
    "LSTM chrono": lambda *sizes, key: seqmem.with_chrono_bias(
        seqmem.LSTM(*sizes, key=key), LONGEST_LAG, key=jax.random.fold_in(key, 1)
    ),
    "IndRNN": seqmem.IndRNN,
    "PeepholeLSTM": seqmem.PeepholeLSTM,
    "ProjectedLSTM": lambda inputs, width, *, key: seqmem.ProjectedLSTM(
        inputs, width, output_size=max(1, width // 2), key=key
    ),
    "ResetBeforeGRU": seqmem.ResetBeforeGRU,
    "MGU": seqmem.MGU,
    "CoRNN": seqmem.CoRNN,
    "UnICORNN": seqmem.UnICORNN,
    "LEM": seqmem.LEM,
    "AntisymmetricRNN": seqmem.AntisymmetricRNN,
    "GatedAntisymmetricRNN": seqmem.GatedAntisymmetricRNN,
    "LipschitzRNN": seqmem.LipschitzRNN,
    "ExpRNN": seqmem.ExpRNN,
    "NNRNN": seqmem.NNRNN,
}
# Cells that were made against vanishing gradients, and their rivals.
STABLE = ("RNN", "LSTM", "GRU", "CoRNN", "UnICORNN", "LEM")
STABLE += ("AntisymmetricRNN", "GatedAntisymmetricRNN", "LipschitzRNN", "ExpRNN", "NNRNN")


def add_model_options(
    parser: argparse.ArgumentParser, cells: list[str], groups: Iterable[str] = ()
) -> None:
    """The options of the models, their training and their text; `groups` are names of several
    cells.
    """
    add = parser.add_argument
    add("--cells", nargs="+", choices=[*CELLS, *groups], default=cells)
    add("--batch", type=positive_int, default=16, help="sequences of one batch")
    add("--width", type=positive_int, default=64, help="hidden units")
    add("--gain", type=positive_float, default=GAIN, help="of RNN gauss")
    add("--training-steps", "--steps", type=int, default=300, help="0 for no training")
    add("--text", help="a file in UTF-8; by default CPython's language reference")
    add("--out", default="benchmarks/results", help="folder for the results")


def initial_model(
    name: str, characters: int, options: argparse.Namespace, key: PRNGKeyArray
) -> models.LanguageModel:
    keys = jax.random.split(key)
    cell_options = {"gain": options.gain} if name == "RNN gauss" else {}
    cell = CELLS[name](characters, options.width, key=keys[0], **cell_options)
    return language_model(cell, characters, keys[1])


def for_each_model(function: Callable[..., Any], *static: str) -> Callable[..., Any]:
    """`function(model, *args)` for a stack of models: one program that runs one after another."""

    @functools.partial(jax.jit, static_argnames=static)
    def mapped(stack, *args, **options):
        return jax.lax.map(lambda model: function(model, *args, **options), stack)

    return mapped


@for_each_model
def train(model, inputs, targets):
    """The model after one training step on each window in turn."""

    def step(carry, window):
        *carry, loss = models.train_step(*carry, *window, optimiser=OPTIMISER)
        return tuple(carry), loss

    carry = (model, model.init_state(inputs.shape[-1]), OPTIMISER.init(model))
    (model, *_), _ = jax.lax.scan(step, carry, (inputs, targets))
    return model


def training_windows(ids: np.ndarray, options: argparse.Namespace) -> tuple[np.ndarray, ...]:
    """Inputs and targets of every training step. The text starts again where it ends."""
    windows = data.segment_text(ids, time=WINDOW, batch=options.batch)
    order = np.arange(options.training_steps) % len(windows[0])
    return tuple(part[order] for part in windows)


def encode_text(path: str | None) -> tuple[np.ndarray, int]:
    """A text as ids, and the size of its vocabulary."""
    text = data.read_text(path)
    vocabulary = data.Vocabulary.from_text(text)
    return vocabulary.encode(text), len(vocabulary)


def text_provenance(module: str, path: str | None, ids: np.ndarray, characters: int) -> Row:
    """The provenance of a measurement on a text, without the folders of its path."""
    record = provenance(module, PACKAGES)
    source = "pydoc_data.topics"
    if path:
        source = pathlib.Path(path).name
        record["command"] = record["command"].replace(path, source)
    for name in CELLS:  # some names have a space
        record["command"] = record["command"].replace(f" {name}", f" {shlex.quote(name)}")
    text = {"source": source, "characters": len(ids), "vocabulary": characters}
    return record | {"text": text}
