"""The window that truncated backpropagation needs, on text.

    python -m benchmarks.studies.window [--cells RNN LSTM GRU] [--time 256] [--bias 0.1]
        [--text FILE]

For a character model around each cell, at initialisation and after a short training, on text that
it was not trained on: the smallest window whose gradient of the mean loss over `time` characters
differs from the full gradient by at most `bias`, relative to it, over several batches; and the
bias of every window that was tried.
"""

import argparse
import pathlib
import sys

import jax
import numpy as np
from jaxtyping import Array
from tqdm import tqdm

import seqmem
from seqmem import data, gradients, models
from seqmem.gradients import Recommendation, pictures

from ..common.options import positive_float, positive_int
from ..common.records import Row, as_json, markdown_table, write_csv
from .character_models import (
    add_model_options,
    encode_text,
    initial_model,
    text_provenance,
    train,
    training_windows,
)

SETTINGS = ("time", "batches", "batch", "bias", "width", "training_steps", "seed")


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add_model_options(parser, ["RNN", "LSTM", "GRU"])
    add("--time", type=positive_int, default=256, help="characters of one sequence")
    add("--batches", type=positive_int, default=4, help="batches of sequences, at least 2")
    add("--bias", type=positive_float, default=0.1, help="allowed, relative to the full gradient")
    add("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.bias >= 1 or options.batches < 2:
        parser.error("--bias must be below 1, and --batches at least 2, for a standard error.")
    return options


def loss(
    model: models.LanguageModel, inputs: Array, targets: Array, method: seqmem.AbstractMethod
) -> Array:
    total, weight, _ = models.next_token_loss(model, None, (inputs, targets), method=method)
    return total / weight


def held_out_batches(
    ids: np.ndarray, options: argparse.Namespace
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Inputs and targets of as many batches as the options ask for."""
    inputs, targets = data.segment_text(ids, time=options.time, batch=options.batch)
    if len(inputs) < options.batches:
        sys.exit(
            f"The text has {len(inputs)} such batches, not {options.batches}: lower --batches."
        )
    return list(zip(inputs[: options.batches], targets[: options.batches], strict=True))


def measure(
    name: str, ids: np.ndarray, characters: int, options: argparse.Namespace, bar: tqdm
) -> dict[str, Recommendation | str]:
    """The recommendation at initialisation and after training, or the reason why it failed."""
    test_length = len(ids) // 10
    batches = held_out_batches(ids[-test_length:], options)
    model = initial_model(name, characters, options, jax.random.key(options.seed))
    by_weights = {"initial": model}
    if options.training_steps > 0:
        bar.set_description(f"{name}, training")
        stack = jax.tree.map(lambda leaf: leaf[None], model)
        stack = train(stack, *training_windows(ids[:-test_length], options))
        by_weights["trained"] = jax.tree.map(lambda leaf: leaf[0], stack)
    results = {}
    for weights, model in by_weights.items():
        bar.set_description(f"{name}, {weights}")
        try:
            result = gradients.recommend_window(
                loss, model, batches, time=options.time, bias=options.bias
            )
        except ValueError as error:  # a gradient that is not finite; the other models are measured
            result = str(error).splitlines()[0]
        results[f"{name}, {weights}"] = result
        bar.update()
    return results


def window_rows(name: str, recommendation: Recommendation) -> list[Row]:
    return [
        {
            "model": name,
            "window": int(window),
            "relative": float(recommendation.relative[i].mean()),
            "bound": float(recommendation.bound[i]),
            "cosine": float(recommendation.cosine[i].mean()),
            "recommended": int(window) == recommendation.window,
        }
        for i, window in enumerate(recommendation.windows)
    ]


def report(rows: list[Row]) -> str:
    """The rows as a Markdown table."""

    def line(row: Row) -> list[str]:
        numbers = f"{row['relative']:.3f}", f"{row['bound']:.3f}", f"{row['cosine']:.4f}"
        return [row["model"], str(row["window"]), *numbers, "<-" if row["recommended"] else ""]

    head = ["model", "window", "relative bias", "+ 2 standard errors", "cosine", ""]
    return markdown_table(head, list(map(line, rows)))


def main() -> None:
    options = parse_options()
    ids, characters = encode_text(options.text)
    results: dict[str, Recommendation | str] = {}
    models_per_cell = 2 if options.training_steps > 0 else 1
    with (
        tqdm(total=models_per_cell * len(options.cells), unit="model") as bar,
        jax.default_matmul_precision("highest"),  # a GPU rounds to ten bits by default
    ):
        for name in options.cells:
            results |= measure(name, ids, characters, options, bar)

    measured = {name: one for name, one in results.items() if isinstance(one, Recommendation)}
    failed = {name: one for name, one in results.items() if isinstance(one, str)}
    rows = [row for name, one in measured.items() for row in window_rows(name, one)]
    record = text_provenance("benchmarks.studies.window", options.text, ids, characters)
    record |= {
        "settings": {name: getattr(options, name) for name in SETTINGS},
        "windows": {name: one.window for name, one in measured.items()},
        "not_measured": failed,
        "rows": rows,
    }
    print(f"{record['machine']}, {record['date']}: `{record['command']}`\n")
    for name, reason in failed.items():
        print(f"{name}: {reason}")
    folder = pathlib.Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "window.json"]
    paths[0].write_text(as_json(record))
    if rows:
        print(
            f"The smallest window with a bias of at most {options.bias:g}, of {options.time} "
            "characters:\n"
        )
        print(report(rows))
        paths += [folder / "window.csv", folder / "window.png"]
        write_csv(paths[1], rows)
        pictures.window_bias(measured, bias=options.bias).savefig(paths[2])
    for path in paths:
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
