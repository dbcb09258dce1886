"""How long should training sequences be? The window that truncated backpropagation needs, on text.

    python -m benchmarks.studies.window [--cells RNN LSTM GRU] [--time 256] [--bias 0.1] [--text FILE]

For a character model around each cell, at initialisation and after a short training, on text that
it has not seen: the smallest window whose gradient of the mean loss over `time` characters is
within `bias` of the whole one, over several batches, and what was measured on the way to it.
"""

import argparse
import pathlib
import sys

import jax
import numpy as np
from jaxtyping import Array
from tqdm import tqdm

import seqmem
from seqmem import gradients, tasks
from seqmem.gradients import Recommendation, pictures

from ..common.curves import Row, write_csv
from ..common.measure import markdown_table
from .gradient_norms import (
    CELLS,
    GAIN,
    as_json,
    encoded,
    header,
    initial,
    number,
    positive,
    train,
    training_windows,
)

SETTINGS = ("time", "batches", "batch", "bias", "width", "training_steps", "seed")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="How long should training sequences be?")
    add = parser.add_argument
    add("--cells", nargs="+", choices=CELLS, default=["RNN", "LSTM", "GRU"])
    add("--time", type=number, default=256, help="characters of one sequence")
    add("--batches", type=number, default=4, help="batches of sequences, at least 2")
    add("--batch", type=number, default=16, help="sequences of one batch")
    add("--bias", type=positive, default=0.1, help="allowed, relative to the whole gradient; < 1")
    add("--width", type=number, default=64, help="hidden units")
    add("--gain", type=positive, default=GAIN, help="of RNN gauss")
    add("--training-steps", "--steps", type=int, default=300, help="0 for none")
    add("--seed", type=int, default=0)
    add("--text", help="a file, in UTF-8; else CPython's language reference")
    add("--out", default="benchmarks/results", help="folder for the results")
    chosen = parser.parse_args()
    if chosen.bias >= 1 or chosen.batches < 2:
        parser.error("--bias is below 1, and --batches at least 2, for a standard error.")
    return chosen


def loss(
    model: models.CharacterModel, inputs: Array, targets: Array, method: seqmem.AbstractMethod
) -> Array:
    _, logits = model(model.init_state(inputs.shape[1]), inputs, method=method)
    return models.character_losses(logits, targets).mean()


def unseen(ids: np.ndarray, chosen: argparse.Namespace) -> list[tuple[np.ndarray, np.ndarray]]:
    """As many batches of inputs and targets as were asked for, or a complaint."""
    inputs, targets = data.windows(ids, time=chosen.time, batch=chosen.batch)
    if len(inputs) < chosen.batches:
        sys.exit(f"The text has {len(inputs)} such batches, not {chosen.batches}: lower --batches.")
    return list(zip(inputs[: chosen.batches], targets[: chosen.batches], strict=True))


def measure(
    name: str, ids: np.ndarray, characters: int, chosen: argparse.Namespace, bar: tqdm
) -> dict[str, Recommendation | str]:
    """The recommendation at initialisation and after training, or why there is none."""
    held_out = len(ids) // 10
    batches = unseen(ids[-held_out:], chosen)
    models = {"initial": initial(name, characters, chosen, jax.random.key(chosen.seed))}
    found = {}
    if chosen.training_steps > 0:
        bar.set_description(f"{name}, training")
        stack = jax.tree.map(lambda leaf: leaf[None], models["initial"])
        stack = train(stack, *training_windows(ids[:-held_out], chosen))
        models["trained"] = jax.tree.map(lambda leaf: leaf[0], stack)
    for weights, model in models.items():
        bar.set_description(f"{name}, {weights}")
        try:
            one = gradients.recommend_window(
                loss, model, batches, time=chosen.time, bias=chosen.bias
            )
        except ValueError as refused:  # where a gradient is not finite; the others are measured
            one = str(refused).splitlines()[0]
        found[f"{name}, {weights}"] = one
        bar.update()
    return found


def as_rows(name: str, one: Recommendation) -> list[Row]:
    return [
        {
            "model": name,
            "window": int(window),
            "relative": float(one.relative[place].mean()),
            "bound": float(one.bound[place]),
            "cosine": float(one.cosine[place].mean()),
            "recommended": int(window) == one.window,
        }
        for place, window in enumerate(one.windows)
    ]


def table(rows: list[Row]) -> str:
    def line(row: Row) -> list[str]:
        numbers = f"{row['relative']:.3f}", f"{row['bound']:.3f}", f"{row['cosine']:.4f}"
        return [row["model"], str(row["window"]), *numbers, "<-" if row["recommended"] else ""]

    head = ["model", "window", "relative bias", "+ 2 standard errors", "cosine", ""]
    return markdown_table(head, list(map(line, rows)))


def main() -> None:
    chosen = options()
    ids, characters = encoded(chosen.text)
    found: dict[str, Recommendation | str] = {}
    models = 2 if chosen.training_steps > 0 else 1
    with (
        tqdm(total=models * len(chosen.cells), unit="model") as bar,
        jax.default_matmul_precision("highest"),  # a GPU would round to ten bits
    ):
        for name in chosen.cells:
            found |= measure(name, ids, characters, chosen, bar)

    measured = {name: one for name, one in found.items() if isinstance(one, Recommendation)}
    failed = {name: one for name, one in found.items() if isinstance(one, str)}
    rows = [row for name, one in measured.items() for row in as_rows(name, one)]
    record = header("benchmarks.studies.window", chosen.text, ids, characters)
    record |= {
        "settings": {name: getattr(chosen, name) for name in SETTINGS},
        "windows": {name: one.window for name, one in measured.items()},
        "not_measured": failed,
        "rows": rows,
    }
    print(f"{record['machine']}, {record['date']}: `{record['command']}`\n")
    for name, reason in failed.items():
        print(f"{name}: {reason}")
    folder = pathlib.Path(chosen.out)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "window.json"]
    paths[0].write_text(as_json(record))
    if rows:
        print(f"The smallest window with a bias of at most {chosen.bias:g}, of {chosen.time}:\n")
        print(table(rows))
        paths += [folder / "window.csv", folder / "window.png"]
        write_csv(paths[1], rows)
        pictures.window_bias(measured, bias=chosen.bias).savefig(paths[2])
    for path in paths:
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
