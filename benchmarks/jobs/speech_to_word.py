"""Classification of spoken digits by several memories.

    python -m benchmarks.jobs.speech_to_word [--cells LSTM BiLSTM] [--seeds 3] [--epochs 12]
        [--devices 2]

Clips of the Free Spoken Digit Dataset, from SEQMEM_DATA or downloaded, as log-mel features of 40
bands every 20 ms. A model is a cell of width 64, its outputs pooled over the clip, and a linear
layer. It is trained by Adam on randomly augmented clips: another speed, some time and some bands
masked.

The official split: takes 0 to 4 of each speaker and digit are the test (300 clips). Of the other
takes, 5 to 9 are for validation (300) and the rest for training (2,400). The cell is chosen by its
mean validation accuracy over the seeds. It is then trained again without one of the speakers (takes
0 to 9 of the other speakers are for validation) and tested on all clips of that speaker.
"""

import argparse
import pathlib
import statistics
import sys
import tempfile
import time
from typing import Any

import numpy as np
from tqdm import tqdm

from seqmem import data, training

from ..common.curves import group_rows
from ..common.devices import devices_for
from ..common.options import positive_int, training_parser
from ..common.records import (
    Row,
    markdown_table,
    provenance,
    versions_text,
    write_csv,
    write_record,
)
from .speech_features import BATCH, features_of
from .speech_figure import draw
from .speech_model import CELLS, WordModel, scores, train_word_model

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "optax", "numpy")
SETTINGS = ("seeds", "epochs")
PUBLISHED = (
    "Published: 97.33 % by a BiLSTM of 50, 39 MFCC, 15 epochs, on a random split, which is not the "
    "official one (github.com/aniruddhapal211316/spoken_digit_recognition)."
)


def parse_options() -> argparse.Namespace:
    parser = training_parser(__doc__)
    add = parser.add_argument
    add("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    add("--seeds", type=positive_int, default=3, help="models of each cell")
    add("--epochs", type=positive_int, default=12)
    add("--speakers", nargs="*", choices=SPEAKERS, default=SPEAKERS, help="held out in turn")
    return parser.parse_args()


def train(
    name: str, parts: Any, seed: int, epochs: int, devices: training.DataParallel
) -> tuple[WordModel, Row, list[Row]]:
    """A model; its accuracies in validation and test; and the validation after each epoch."""
    *seen, test = parts
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        model = train_word_model(
            name, tuple(seen), devices, seed=seed, epochs=epochs, folder=folder
        )
        table = np.genfromtxt(pathlib.Path(folder, "validation.csv"), delimiter=",", names=True)
    result = {
        "validation": scores(model, seen[1])["accuracy"],
        "test": scores(model, test)["accuracy"],
        "seconds": time.perf_counter() - start,
    }
    columns = ("loss", "accuracy")
    curve = [
        {"epoch": i, **{name: float(row[name]) for name in columns}}
        for i, row in enumerate(np.atleast_1d(table), 1)
    ]
    return model, result, curve


def measure(
    options: argparse.Namespace, parts: Any, devices: training.DataParallel, bar: tqdm
) -> tuple[list[Row], list[Row], dict[str, WordModel]]:
    """Accuracies and curves of every cell and seed, and the models of the first seed."""
    rows, curves, models = [], [], {}
    for name in options.cells:
        for seed in range(options.seeds):
            bar.set_description(f"{name}, seed {seed}")
            model, result, curve = train(name, parts, seed, options.epochs, devices)
            labels = {"cell": name, "seed": seed}
            rows.append(labels | result)
            curves += [labels | row for row in curve]
            models.setdefault(name, model)
            bar.update()
    return rows, curves, models


def summarise(rows: list[Row]) -> list[Row]:
    """A row for each cell, over its seeds."""
    return [
        {
            "cell": cell,
            "validation": statistics.fmean(row["validation"] for row in seeds),
            "test": statistics.fmean(row["test"] for row in seeds),
            "worst": min(row["test"] for row in seeds),
            "seconds": sum(row["seconds"] for row in seeds),
        }
        for (cell,), seeds in group_rows(rows, "cell").items()
    ]


def hold_out_speakers(
    name: str,
    clips: data.SpokenDigits,
    options: argparse.Namespace,
    devices: training.DataParallel,
    bar: tqdm,
) -> dict[str, float]:
    """The test accuracy on each speaker, of a model that was trained without this speaker."""
    accuracies = {}
    for speaker in options.speakers:
        bar.set_description(f"{name}, without {speaker}")
        other_clips, test = clips.hold_out(speaker)
        parts = features_of(*other_clips.split(10), test)
        _, result, _ = train(name, parts, 0, options.epochs, devices)
        accuracies[speaker] = result["test"]
        bar.update()
    return accuracies


def report(record: Row) -> str:
    """The record in Markdown."""
    lines = [
        [row["cell"]]
        + [f"{100 * row[name]:.2f}" for name in ("validation", "test", "worst")]
        + [f"{row['seconds']:.0f}"]
        for row in record["cells"]
    ]
    parts = [
        f"`{record['command']}`",
        f"{record['machine']}, {record['date']}. {versions_text(record)}",
        f"Spoken digits, official split, 300 test clips: accuracy in %, mean of {record['seeds']} "
        "seeds, and seconds for all of them with compilation:",
        markdown_table(["cell", "validation", "test", "worst seed", "seconds"], lines),
        f"Chosen by validation: {record['chosen']}. {PUBLISHED}",
    ]
    if record["held_out"]:
        mean = statistics.fmean(record["held_out"].values())
        each = ", ".join(f"{name} {100 * value:.1f}" for name, value in record["held_out"].items())
        parts.append(
            f"{record['chosen']} on a speaker that it was not trained on, accuracy in %: {each}; "
            f"mean {100 * mean:.1f}. Trained on the other five speakers, one seed."
        )
    return "\n\n".join(parts)


def main() -> None:
    options = parse_options()
    devices = devices_for(BATCH, options.devices)
    clips = data.spoken_digits()
    rest, test = clips.split()
    parts = features_of(*rest.split(10), test)
    total = len(options.cells) * options.seeds + len(options.speakers)
    with tqdm(total=total, unit="model") as bar:
        rows, curves, models = measure(options, parts, devices, bar)
        summary = summarise(rows)
        best = max(summary, key=lambda row: row["validation"])["cell"]
        held_out = hold_out_speakers(best, clips, options, devices, bar)

    record = provenance("benchmarks.jobs.speech_to_word", PACKAGES) | {
        **{name: getattr(options, name) for name in SETTINGS},
        "devices": devices.num_devices,
        "chosen": best,
        "cells": summary,
        "held_out": held_out,
        "rows": rows,
    }
    print(report(record))
    paths = write_record(options.out, "speech_to_word", record, report(record))
    paths += [paths[0].with_suffix(suffix) for suffix in (".csv", ".png")]
    write_csv(paths[-2], curves)
    draw(paths[-1], rows, models[best], parts[-1], best)
    for path in paths:
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
