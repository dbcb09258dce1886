"""What do gradients do over time, on real text?

    python -m benchmarks.studies.gradient_norms [--cells RNN LSTM] [--lengths 16 256 2048] [--text FILE]

For a character model around each cell, at initialisation and after a short training, on text that
it has not seen:

* lag: the gradient of the last character's loss with respect to the state k steps before;
* length: the gradient of the mean loss of T characters with respect to all parameters;
* ahead: how much a small change of the cell's weights, in a random direction, changes the
  prediction k characters later. Forward mode, with a finite difference in float64 as a check.

Norms are medians, between quartiles, over seeds and examples (and directions). RNNx2 is an RNN
whose recurrent matrix, orthogonal at the start, is multiplied by 2; RNN gauss begins with normal
entries N(0, gain²/width); LSTM chrono with gates open for lags up to 100, LSTM forget 0 with a
forget gate whose bias is 0, not 1. With --clip, the gradient is clipped to that norm between any
two steps of the backward recurrence, in the first two measures.
"""

import argparse
import functools
import json
import math
import pathlib
import shlex
import sys
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

import seqmem
from seqmem import gradients, tasks
from seqmem.gradients import random_direction

from ..common.curves import Row, complaints, curve, write_csv
from .gradient_report import draw_all, report
from ..common.measure import provenance
from .norms import (
    parameter_gradients,
    prediction_changes,
    prediction_differences,
    state_gradients,
)

AHEAD = 100  # characters from the change of the weights to the last prediction that is looked at
GAIN = 1.5  # of RNN gauss: above 1, a wide network without input is chaotic


def gaussian(inputs: int, width: int, *, key, gain: float = GAIN) -> seqmem.AbstractCell:
    """An RNN whose recurrent entries are N(0, gain²/width) at the start."""
    U = gain * jax.random.normal(jax.random.fold_in(key, 1), (width, width)) / width**0.5
    return eqx.tree_at(lambda cell: cell.U, seqmem.RNN(inputs, width, key=key), U)


CELLS: dict[str, Callable[..., seqmem.AbstractCell]] = {
    "RNN": seqmem.RNN,
    "RNNx2": lambda *sizes, key: eqx.tree_at(
        lambda cell: cell.U, seqmem.RNN(*sizes, key=key), replace_fn=lambda U: 2 * U
    ),
    "LSTM": seqmem.LSTM,
    "GRU": seqmem.GRU,
    "RNN gauss": gaussian,
    "LSTM forget 0": lambda *sizes, key: seqmem.LSTM(*sizes, forget_bias=0.0, key=key),
    "LSTM chrono": lambda *sizes, key: seqmem.with_chrono_bias(
        seqmem.LSTM(*sizes, key=key), AHEAD, key=jax.random.fold_in(key, 1)
    ),
    "IndRNN": seqmem.IndRNN,
    "PeepholeLSTM": seqmem.PeepholeLSTM,
    "ProjectedLSTM": lambda inputs, width, *, key: seqmem.ProjectedLSTM(
        inputs, width, max(1, width // 2), key=key
    ),
    "ResetBeforeGRU": seqmem.ResetBeforeGRU,
    "MGU": seqmem.MGU,
}
DIRECTIONS = 8  # in which the weights of each seed are moved
WINDOW = 64  # steps of truncated backpropagation in training
OPTIMISER = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(3e-3))
PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "optax", "numpy")


def number(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, at least 1.")
    return int(text)


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0.")
    return value


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Norms of gradients over time, on text.")
    add = parser.add_argument
    add("--cells", nargs="+", choices=CELLS, default=["RNN", "RNNx2", "LSTM", "GRU"])
    add("--lengths", nargs="+", type=number, default=[2**k for k in range(4, 12)], metavar="T")
    add("--width", type=number, default=64, help="hidden units")
    add("--text", help="a file, in UTF-8; else CPython's language reference")
    add("--seeds", type=number, default=3, help="how many models of each cell")
    add("--batch", type=number, default=16, help="sequences")
    add("--clip", type=positive, help="limit of the gradient's norm between steps")
    add("--gain", type=positive, default=GAIN, help="of RNN gauss")
    add("--training-steps", type=int, default=300, help="0 for none")
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


def for_each_model(function: Callable[..., Any], *static: str) -> Callable[..., Any]:
    """`function(model, *args)` for a stack of models, one after another, in one program."""

    @functools.partial(jax.jit, static_argnames=static)
    def mapped(models, *args, **options):
        return jax.lax.map(lambda model: function(model, *args, **options), models)

    return mapped


def initial(name: str, characters: int, chosen: argparse.Namespace, key) -> models.CharacterModel:
    keys = jax.random.split(key)
    own = {"gain": chosen.gain} if name == "RNN gauss" else {}
    cell = CELLS[name](characters, chosen.width, key=keys[0], **own)
    return models.CharacterModel(cell, characters, key=keys[1])


@for_each_model
def train(model, inputs, targets):
    """The model after one training step on each window, one after another."""

    def step(carry, window):
        *carry, loss = models.train_step(*carry, *window, optimiser=OPTIMISER)
        return tuple(carry), loss

    start = (model, model.init_state(inputs.shape[-1]), OPTIMISER.init(model))
    (model, *_), _ = jax.lax.scan(step, start, (inputs, targets))
    return model


@for_each_model
def changes(model, inputs, key):
    def one(key):
        return prediction_changes(model, inputs, random_direction(key, model.cell))

    return jax.vmap(one)(jax.random.split(key, DIRECTIONS))


def difference_error(models, inputs, key, found) -> float:
    """The relative error of what `changes` found, 10 steps ahead for the first of everything.

    Against a finite difference in float64; so near, because a chaotic cell amplifies its error.
    """
    inputs = inputs[:10]
    model = jax.tree.map(lambda leaf: leaf[0], models)
    direction = random_direction(jax.random.split(key, DIRECTIONS)[0], model.cell)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), (model, direction))
        expected = jax.jit(prediction_differences)(wide[0], inputs, wide[1], 1e-5)[-1, 0]
    return abs(float(found[0, 0, len(inputs) - 1, 0]) / float(expected) - 1)


lags = for_each_model(state_gradients, "method")
totals = for_each_model(parameter_gradients, "lengths", "method")


def training_windows(ids: np.ndarray, chosen: argparse.Namespace) -> tuple[np.ndarray, ...]:
    """Inputs and targets of every training step, from the beginning again where the text ends."""
    windows = data.windows(ids, time=WINDOW, batch=chosen.batch)
    order = np.arange(chosen.training_steps) % len(windows[0])
    return tuple(ids[order] for ids in windows)


def measure(
    name: str, ids: np.ndarray, characters: int, chosen: argparse.Namespace, bar: tqdm
) -> tuple[list[Row], dict[str, Row]]:
    """All curves of one cell, and beside them its loss and the error of the check."""

    def part(what: str, function: Callable[..., Any], *args: Any, **static: Any) -> Any:
        bar.set_description(f"{name}, {what}")
        result = jax.block_until_ready(function(*args, **static))
        bar.update()
        return result

    lengths = tuple(sorted(set(chosen.lengths)))
    held_out, longest = len(ids) // 10, lengths[-1]
    windows = data.windows(ids[-held_out:], time=longest, batch=chosen.batch)
    inputs, targets = (ids[0] for ids in windows)
    seeds = jnp.stack([jax.random.key(seed) for seed in range(chosen.seeds)])
    stacks = {
        "initial": jax.jit(jax.vmap(lambda key: initial(name, characters, chosen, key)))(seeds)
    }
    if chosen.training_steps > 0:
        windows = training_windows(ids[:-held_out], chosen)
        stacks["trained"] = part("training", train, stacks["initial"], *windows)

    method = chosen.clip and seqmem.Scan(transform=gradients.ClipNorm(chosen.clip))
    rows, facts = [], {}
    key = jax.random.key(chosen.seeds)
    for weights, models in stacks.items():
        where = {"cell": name, "weights": weights}
        by_lag = part("lags", lags, models, inputs, targets, method=method)
        for of, norms in by_lag.items():
            rows += curve(range(longest), norms.swapaxes(0, 1), measure="lag", of=of, **where)
        losses, norms = part(
            "lengths", totals, models, inputs, targets, lengths=lengths, method=method
        )
        rows += curve(lengths, norms.T, measure="length", of="parameters", **where)
        found = part("predictions", changes, models, inputs[:AHEAD], key)
        by_step = found.transpose(2, 0, 1, 3)
        ahead = range(1, 1 + len(by_step))
        rows += curve(ahead, by_step, measure="ahead", of="prediction", **where)
        facts[weights] = {
            "loss": float(losses[:, -1].mean()),
            "difference_error": difference_error(models, inputs, key, found),
        }
    return rows, facts


def as_json(record: Row) -> str:
    """The record in JSON, which has no infinity: what is not finite becomes a word."""

    def word(leaf: Any) -> Any:
        return str(leaf) if isinstance(leaf, float) and not math.isfinite(leaf) else leaf

    return json.dumps(jax.tree.map(word, record), indent=1, allow_nan=False) + "\n"


def encoded(path: str | None) -> tuple[np.ndarray, int]:
    """A text as ids, and how many characters it has in its vocabulary."""
    text = data.read_text(path)
    vocabulary = data.Vocabulary.of(text)
    return vocabulary.encode(text), len(vocabulary)


def header(module: str, path: str | None, ids: np.ndarray, characters: int) -> Row:
    """Where numbers come from, and the text they are of."""
    record = provenance(module, PACKAGES)
    source = "pydoc_data.topics"
    if path:
        source = pathlib.Path(path).name  # the folders before it are private
        record["command"] = record["command"].replace(path, source)
    for name in CELLS:  # some have a space in them
        record["command"] = record["command"].replace(f" {name}", f" {shlex.quote(name)}")
    text = {"source": source, "characters": len(ids), "vocabulary": characters}
    return record | {"text": text}


def main() -> None:
    chosen = options()
    ids, characters = encoded(chosen.text)
    rows: list[Row] = []
    facts: dict[str, dict[str, Row]] = {}
    parts = 7 if chosen.training_steps > 0 else 3
    with (
        tqdm(total=parts * len(chosen.cells), unit="part") as bar,
        jax.default_matmul_precision("highest"),  # a GPU would round to ten bits
    ):
        for name in chosen.cells:
            more, facts[name] = measure(name, ids, characters, chosen, bar)
            rows += more

    settings = ("width", "batch", "lengths", "training_steps", "clip")
    settings += ("gain",) if "RNN gauss" in chosen.cells else ()
    record = header("benchmarks.studies.gradient_norms", chosen.text, ids, characters)
    record |= {
        "seeds": list(range(chosen.seeds)),
        "settings": {name: getattr(chosen, name) for name in settings},
        "cells": facts,
        "not_finite": complaints(rows),
    }
    print(f"{record['machine']}, {record['date']}: `{record['command']}`\n")
    print(report(rows, facts))

    folder = pathlib.Path(chosen.out)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "gradient_norms.csv", folder / "gradient_norms.json"]
    write_csv(paths[0], rows)
    paths[1].write_text(as_json(record))
    for path in paths + draw_all(folder, rows):
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
