"""Classification of spoken digits by networks that spike, trained with surrogate gradients.

    python -m benchmarks.jobs.spoken_digits_spiking [--cells LIF] [--seeds 3] [--epochs 20]
        [--width 128] [--devices 2]

Clips, features, augmentation, split and optimiser are those of `benchmarks.jobs.speech_to_word`. A
model is two recurrent layers of units that spike, one above the other, and a linear layer that sees
nothing but how often each unit of the second has spiked. The table has the accuracies, and the
spikes that a unit sends in a second of the test clips, whose frames are 20 ms apart: 50 at most.
"""

import argparse
import math
import statistics
import sys
import tempfile
import time
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray
from tqdm import tqdm

import seqmem
from seqmem import data, training

from ..common.curves import group_rows
from ..common.devices import devices_for
from ..common.options import positive_int, training_parser
from ..common.records import Row, markdown_table, provenance, versions_text, write_record
from .speech_features import BANDS, BATCH, HOP, Features, evaluation_batches, features_of
from .speech_model import scores, train_word_model

CELLS = {
    "LIF": seqmem.LIF,
    "AdaptiveLIF": seqmem.AdaptiveLIF,
    "SynapticLIF": seqmem.SynapticLIF,
}
TAU = 5.0  # frames, of the potentials at the start
SURROGATE = seqmem.spikes.FastSigmoid(5.0)
PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "optax", "numpy")
SETTINGS = ("seeds", "epochs", "width")


class SpikingModel(eqx.Module):
    """A classifier of clips: two recurrent layers of units that spike, and a linear layer.

    s_1 … s_T = the spikes of the second layer
    P(word = i) = softmax(V mean_t s_t + b)_i
    """

    network: seqmem.layers.Stack
    V: Float[Array, "words width"]
    b: Float[Array, " words"]

    def __init__(self, name: str, words: int, *, width: int, key: PRNGKeyArray):
        keys = jax.random.split(key, 3)
        options = {"is_recurrent": True, "tau": TAU, "surrogate": SURROGATE}
        self.network = seqmem.layers.Stack(
            [
                CELLS[name](inputs, width, **options, key=layer_key)
                for inputs, layer_key in zip((BANDS, width), keys, strict=False)
            ]
        )
        self.V = jax.random.normal(keys[2], (words, width)) / math.sqrt(width)
        self.b = jnp.zeros(words)

    def __call__(
        self, xs: Float[Array, "time batch band"], lengths: Int[Array, " batch"]
    ) -> Float[Array, "batch words"]:
        _, spikes = seqmem.unroll(self.network, None, xs, lengths=lengths)
        return seqmem.layers.pooling.mean(spikes, lengths=lengths) @ self.V.T + self.b


@jax.jit
def spikes_of_batch(
    model: SpikingModel, xs: Array, lengths: Array
) -> tuple[Float[Array, " layer"], Int[Array, ""]]:
    """The spikes of each layer, per unit, and the valid frames."""
    states = seqmem.solve(model.network, None, xs, lengths=lengths, return_states=True).states
    is_valid = jnp.arange(len(xs))[:, None] < lengths
    spikes = [jnp.where(is_valid, layer.s.mean(-1), 0).sum() for layer in states]
    return jnp.stack(spikes), is_valid.sum()


def spikes_per_second(model: SpikingModel, features: Features) -> list[float]:
    """What a unit of each layer sends in a second of the clips."""
    spikes, frames = 0.0, 0
    for batch in evaluation_batches(features.clips):
        of_batch, valid = spikes_of_batch(model, *data.pad_batch(features.clips, batch))
        spikes, frames = spikes + np.asarray(of_batch), frames + int(valid)
    return (np.asarray(spikes) / (frames * HOP)).tolist()


def train(
    name: str, parts: Any, seed: int, options: argparse.Namespace, devices: training.DataParallel
) -> Row:
    """The accuracies of a model, its spikes, and the seconds that its training took."""
    *seen, test = parts
    start = time.perf_counter()

    def make_model(name: str, words: int, *, key: PRNGKeyArray) -> SpikingModel:
        return SpikingModel(name, words, width=options.width, key=key)

    with tempfile.TemporaryDirectory() as folder:
        settings = {"seed": seed, "epochs": options.epochs, "folder": folder}
        model = train_word_model(name, tuple(seen), devices, **settings, make_model=make_model)
    first, second = spikes_per_second(model, test)
    return {
        "cell": name,
        "seed": seed,
        "validation": scores(model, seen[1])["accuracy"],
        "test": scores(model, test)["accuracy"],
        "spikes of layer 1": first,
        "spikes of layer 2": second,
        "seconds": time.perf_counter() - start,
    }


def report(record: Row) -> str:
    """The record in Markdown."""
    columns = ("validation", "test", "spikes of layer 1", "spikes of layer 2")
    lines = []
    for (cell,), rows in group_rows(record["rows"], "cell").items():
        means = [statistics.fmean(row[column] for row in rows) for column in columns]
        worst, seconds = min(row["test"] for row in rows), sum(row["seconds"] for row in rows)
        accuracies = [f"{100 * value:.2f}" for value in (*means[:2], worst)]
        lines.append([cell, *accuracies, *(f"{rate:.1f}" for rate in means[2:]), f"{seconds:.0f}"])
    header = ["cell", "validation", "test", "worst seed", *columns[2:], "seconds"]
    parts = [
        f"`{record['command']}`",
        f"{record['machine']}, {record['date']}. {versions_text(record)}",
        f"Spoken digits, official split, 300 test clips, two recurrent layers of {record['width']} "
        f"units: accuracy in %, mean of {record['seeds']} seeds; spikes per unit and second of the "
        "test clips; and seconds for all seeds with compilation:",
        markdown_table(header, lines),
    ]
    return "\n\n".join(parts)


def parse_options() -> argparse.Namespace:
    parser = training_parser(__doc__)
    add = parser.add_argument
    add("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    add("--seeds", type=positive_int, default=3, help="models of each cell")
    add("--epochs", type=positive_int, default=20)
    add("--width", type=positive_int, default=128, help="units of a layer")
    return parser.parse_args()


def main() -> None:
    options = parse_options()
    devices = devices_for(BATCH, options.devices)
    rest, test = data.spoken_digits().split()
    parts = features_of(*rest.split(10), test)
    runs = [(name, seed) for name in options.cells for seed in range(options.seeds)]
    rows = [train(name, parts, seed, options, devices) for name, seed in tqdm(runs, unit="model")]
    record = provenance("benchmarks.jobs.spoken_digits_spiking", PACKAGES) | {
        **{name: getattr(options, name) for name in SETTINGS},
        "devices": devices.num_devices,
        "rows": rows,
    }
    print(report(record))
    for path in write_record(options.out, "spoken_digits_spiking", record, report(record)):
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
