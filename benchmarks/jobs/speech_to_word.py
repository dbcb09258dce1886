"""Speech to one word: which memory understands spoken digits?

    python -m benchmarks.jobs.speech_to_word [--cells LSTM BiLSTM] [--seeds 3] [--epochs 12]

Clips of the Free Spoken Digit Dataset, from SEQMEM_DATA or fetched, as energies in 40 mel bands
every 20 ms. A model is a cell of width 64, its outputs pooled over the clip, and a linear layer; it
is trained by Adam on clips that are varied at random: faster or slower, some time and some bands
left out.

The official split: takes 0 to 4 of each speaker and digit are the test (300 clips). Of the other
takes, 5 to 9 are for validation (300) and the rest for training (2,400). The cell is chosen by its
mean accuracy in validation, over the seeds. The chosen one is then trained again without one of the
speakers (its takes 0 to 9 of the others are for validation) and tested on all clips of that one.
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

from seqmem import data

from ..common.curves import group_rows
from ..common.options import positive_int
from ..common.records import Row, as_json, markdown_table, provenance, write_csv
from .word_picture import draw
from .words import CELLS, WordModel, frames_of, scores, train_word_model

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "optax", "numpy")
SETTINGS = ("seeds", "epochs")
REFERENCE = (
    "Published: 97.33 % by a BiLSTM of 50, 39 MFCC, 15 epochs, on a random split, which is not the "
    "official one (github.com/aniruddhapal211316/spoken_digit_recognition)."
)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Which memory understands spoken digits?")
    add = parser.add_argument
    add("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    add("--seeds", type=positive_int, default=3, help="how many models of each cell")
    add("--epochs", type=positive_int, default=12)
    add("--speakers", nargs="*", choices=SPEAKERS, default=SPEAKERS, help="held out in turn")
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


def train(name: str, parts: Any, seed: int, epochs: int) -> tuple[WordModel, Row, list[Row]]:
    """A model; its accuracies in validation and test; and validation after each epoch."""
    training, validation, test = parts
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        model = train_word_model(
            name, training, validation, seed=seed, epochs=epochs, folder=folder
        )
        table = np.genfromtxt(pathlib.Path(folder, "validation.csv"), delimiter=",", names=True)
    found = {
        "validation": scores(model, validation)["accuracy"],
        "test": scores(model, test)["accuracy"],
        "seconds": time.perf_counter() - start,
    }
    columns = ("loss", "accuracy")
    curve = [
        {"epoch": i, **{name: float(row[name]) for name in columns}}
        for i, row in enumerate(np.atleast_1d(table), 1)
    ]
    return model, found, curve


def measure(
    chosen: argparse.Namespace, parts: Any, bar: tqdm
) -> tuple[list[Row], list[Row], dict[str, WordModel]]:
    """Accuracies and curves of every cell and seed, and the first seed's models."""
    rows, curves, models = [], [], {}
    for name in chosen.cells:
        for seed in range(chosen.seeds):
            bar.set_description(f"{name}, seed {seed}")
            model, found, curve = train(name, parts, seed, chosen.epochs)
            where = {"cell": name, "seed": seed}
            rows.append(where | found)
            curves += [where | row for row in curve]
            models.setdefault(name, model)
            bar.update()
    return rows, curves, models


def summary(rows: list[Row]) -> list[Row]:
    """Of each cell, over its seeds."""
    return [
        {
            "cell": cell,
            "validation": statistics.fmean(row["validation"] for row in own),
            "test": statistics.fmean(row["test"] for row in own),
            "worst": min(row["test"] for row in own),
            "seconds": sum(row["seconds"] for row in own),
        }
        for (cell,), own in group_rows(rows, "cell").items()
    ]


def held_out(
    name: str, clips: data.SpokenDigits, chosen: argparse.Namespace, bar: tqdm
) -> dict[str, float]:
    """The test accuracy on each speaker, of a model that never heard them."""
    found = {}
    for speaker in chosen.speakers:
        bar.set_description(f"{name}, without {speaker}")
        others, own = clips.without(speaker)
        _, row, _ = train(name, frames_of(*others.split(10), own), 0, chosen.epochs)
        found[speaker] = row["test"]
        bar.update()
    return found


def report(record: Row) -> str:
    """The record in Markdown."""
    lines = [
        [row["cell"]]
        + [f"{100 * row[name]:.2f}" for name in ("validation", "test", "worst")]
        + [f"{row['seconds']:.0f}"]
        for row in record["cells"]
    ]
    versions = ", ".join(f"{name} {value}" for name, value in record["versions"].items())
    parts = [
        f"`{record['command']}`",
        f"{record['machine']}, {record['date']}. Versions: {versions}.",
        f"Spoken digits, official split, 300 test clips: % understood, mean of {record['seeds']} "
        "seeds, and seconds for all of them with compilation:",
        markdown_table(["cell", "validation", "test", "worst seed", "seconds"], lines),
        f"Chosen in validation: {record['chosen']}. {REFERENCE}",
    ]
    if record["held_out"]:
        mean = statistics.fmean(record["held_out"].values())
        each = ", ".join(f"{name} {100 * share:.1f}" for name, share in record["held_out"].items())
        parts.append(
            f"{record['chosen']} on a speaker it never heard, % understood: {each}; mean "
            f"{100 * mean:.1f}. The other five train it, one seed."
        )
    return "\n\n".join(parts)


def main() -> None:
    chosen = options()
    clips = data.spoken_digits()
    rest, test = clips.split()
    parts = frames_of(*rest.split(10), test)
    total = len(chosen.cells) * chosen.seeds + len(chosen.speakers)
    with tqdm(total=total, unit="model") as bar:
        rows, curves, models = measure(chosen, parts, bar)
        cells = summary(rows)
        best = max(cells, key=lambda row: row["validation"])["cell"]
        unheard = held_out(best, clips, chosen, bar)

    record = provenance("benchmarks.jobs.speech_to_word", PACKAGES) | {
        **{name: getattr(chosen, name) for name in SETTINGS},
        "chosen": best,
        "cells": cells,
        "held_out": unheard,
        "rows": rows,
    }
    print(report(record))
    folder = pathlib.Path(chosen.out)
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"speech_to_word_{record['platform']}"
    stem.with_suffix(".json").write_text(as_json(record))
    stem.with_suffix(".md").write_text(report(record) + "\n")
    write_csv(stem.with_suffix(".csv"), curves)
    draw(stem.with_suffix(".png"), rows, models[best], parts[-1], best)
    for kind in ("json", "md", "csv", "png"):
        print(f"wrote {stem}.{kind}", file=sys.stderr)


if __name__ == "__main__":
    main()
