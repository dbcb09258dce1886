"""Norms of gradients over time, on real text.

    python -m benchmarks.studies.gradient_norms [--cells RNN LSTM] [--lengths 16 256 2048]
        [--text FILE]
    python -m benchmarks.studies.gradient_norms --cells stable --lengths 16 64 256 1024

For a character model around each cell, at initialisation and after a short training, on text that
it was not trained on:

* lag: the gradient of the last character's loss with respect to the state k steps before;
* length: the gradient of the mean loss of T characters with respect to all parameters;
* ahead: how much a small change of the cell's weights, in a random direction, changes the
  prediction k characters later. Forward mode, checked by a finite difference in float64.

Norms are medians, between quartiles, over seeds and examples (and directions). RNNx2 is an RNN
whose recurrent matrix, orthogonal at the start, is multiplied by 2. RNN gauss starts with normal
recurrent entries N(0, gain²/width), LSTM chrono with gates open for lags up to 100, LSTM forget 0
with a forget bias of 0 instead of 1. "stable" are the cells that were made against vanishing
gradients, beside RNN, LSTM and GRU. With --clip, the gradient is clipped to that norm between any
two steps of the backward recurrence, in the first two measures.

A table has the half-lives of the first measure: the number of steps in which the straight line
through the logarithm of the norm halves, over all lags, and the first lag at which the norm is at
most half of that at lag 0.
"""

import argparse
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from tqdm import tqdm

import seqmem
from seqmem import data, gradients
from seqmem.gradients import random_direction

from ..common.curves import curve_rows, nonfinite_notes
from ..common.options import positive_float, positive_int
from ..common.records import Row, as_json, write_csv
from .character_models import (
    STABLE,
    add_model_options,
    encode_text,
    for_each_model,
    initial_model,
    text_provenance,
    train,
    training_windows,
)
from .gradient_report import draw_all, report
from .norms import (
    parameter_gradients,
    prediction_changes,
    prediction_differences,
    state_gradients,
)

AHEAD = 100  # characters from the change of the weights to the last prediction that is measured
DIRECTIONS = 8  # random directions in which the weights of each model are changed
GROUPS = {"stable": STABLE}
CHECKED = 10  # characters ahead of the check by a finite difference


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add_model_options(parser, ["RNN", "RNNx2", "LSTM", "GRU"], GROUPS)
    lengths = [2**k for k in range(4, 12)]
    add("--lengths", nargs="+", type=positive_int, default=lengths, metavar="T")
    add("--seeds", type=positive_int, default=3, help="models of each cell")
    add("--clip", type=positive_float, help="limit of the gradient's norm between steps")
    options = parser.parse_args()
    options.groups = [name for name in options.cells if name in GROUPS]
    members = [cell for name in options.cells for cell in GROUPS.get(name, (name,))]
    options.cells = list(dict.fromkeys(members))
    return options


lag_norms = for_each_model(state_gradients, "method")
length_norms = for_each_model(parameter_gradients, "lengths", "method")


@for_each_model
def random_changes(model, inputs, key):
    """`prediction_changes` in every direction, [direction, time, batch]."""

    def one_direction(key):
        return prediction_changes(model, inputs, random_direction(key, model.body))

    return jax.vmap(one_direction)(jax.random.split(key, DIRECTIONS))


def difference_error(stack, inputs, key, changes) -> float:
    """The relative error of `random_changes` against a finite difference in float64, for the first
    model, direction and example. It is measured a few steps ahead, since a chaotic cell amplifies
    the error of the difference.
    """
    inputs = inputs[:CHECKED]
    model = jax.tree.map(lambda leaf: leaf[0], stack)
    direction = random_direction(jax.random.split(key, DIRECTIONS)[0], model.body)
    with jax.enable_x64(True):
        model, direction = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, jnp.float64), (model, direction)
        )
        expected = jax.jit(prediction_differences)(model, inputs, direction, 1e-5)[-1, 0]
    return abs(float(changes[0, 0, len(inputs) - 1, 0]) / float(expected) - 1)


def half_lives(norms: Float[Array, "seed lag batch"]) -> Row:
    """Quartiles of the half-life over all seeds and examples, and the median of the first lag at
    which the norm is at most half of that at lag 0.
    """
    curves = norms.swapaxes(0, 1).reshape(norms.shape[1], -1)
    horizons = gradients.gradient_horizons(curves, fraction=0.5)
    quartiles = np.quantile(horizons.half_life, (0.25, 0.5, 0.75), method="inverted_cdf")
    halved_at = np.quantile(horizons.decay, 0.5, method="inverted_cdf")
    return {"half_life": quartiles.tolist(), "halved_at": float(halved_at)}


def measure(
    name: str, ids: np.ndarray, characters: int, options: argparse.Namespace, bar: tqdm
) -> tuple[list[Row], dict[str, Row]]:
    """All curves of one cell, and its loss and the error of the check, by weights."""

    def run(part: str, function: Callable[..., Any], *args: Any, **static: Any) -> Any:
        bar.set_description(f"{name}, {part}")
        result = jax.block_until_ready(function(*args, **static))
        bar.update()
        return result

    lengths = tuple(sorted(set(options.lengths)))
    test_length, longest = len(ids) // 10, lengths[-1]
    windows = data.segment_text(ids[-test_length:], time=longest, batch=options.batch)
    inputs, targets = (part[0] for part in windows)
    seeds = jnp.stack([jax.random.key(seed) for seed in range(options.seeds)])
    make_stack = jax.jit(jax.vmap(lambda key: initial_model(name, characters, options, key)))
    stacks = {"initial": make_stack(seeds)}
    if options.training_steps > 0:
        windows = training_windows(ids[:-test_length], options)
        stacks["trained"] = run("training", train, stacks["initial"], *windows)

    method = options.clip and seqmem.Scan(transform=gradients.ClipNorm(options.clip))
    rows, checks = [], {}
    key = jax.random.key(options.seeds)
    for weights, stack in stacks.items():
        labels = {"cell": name, "weights": weights}
        by_lag = run("lags", lag_norms, stack, inputs, targets, method=method)
        for of, norms in by_lag.items():
            values = norms.swapaxes(0, 1)
            rows += curve_rows(range(longest), values, measure="lag", of=of, **labels)
        losses, norms = run(
            "lengths", length_norms, stack, inputs, targets, lengths=lengths, method=method
        )
        rows += curve_rows(lengths, norms.T, measure="length", of="parameters", **labels)
        changes = run("predictions", random_changes, stack, inputs[:AHEAD], key)
        by_step = changes.transpose(2, 0, 1, 3)
        steps = range(1, 1 + len(by_step))
        rows += curve_rows(steps, by_step, measure="ahead", of="prediction", **labels)
        checks[weights] = half_lives(by_lag["state"]) | {
            "loss": float(losses[:, -1].mean()),
            "difference_error": difference_error(stack, inputs, key, changes),
        }
    return rows, checks


def main() -> None:
    options = parse_options()
    ids, characters = encode_text(options.text)
    rows: list[Row] = []
    checks: dict[str, dict[str, Row]] = {}
    parts = 7 if options.training_steps > 0 else 3
    with (
        tqdm(total=parts * len(options.cells), unit="part") as bar,
        jax.default_matmul_precision("highest"),  # a GPU rounds to ten bits by default
    ):
        for name in options.cells:
            cell_rows, checks[name] = measure(name, ids, characters, options, bar)
            rows += cell_rows

    settings = ("width", "batch", "lengths", "training_steps", "clip")
    settings += ("gain",) if "RNN gauss" in options.cells else ()
    record = text_provenance("benchmarks.studies.gradient_norms", options.text, ids, characters)
    record |= {
        "seeds": list(range(options.seeds)),
        "settings": {name: getattr(options, name) for name in settings},
        "cells": checks,
        "not_finite": nonfinite_notes(rows),
    }
    print(f"{record['machine']}, {record['date']}: `{record['command']}`\n")
    print(report(rows, checks))

    folder = pathlib.Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    stem = "_".join(["gradient_norms", *options.groups])
    paths = [folder / f"{stem}.csv", folder / f"{stem}.json"]
    write_csv(paths[0], rows)
    paths[1].write_text(as_json(record))
    for path in paths + draw_all(folder / stem, rows):
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
