"""Language models of bytes with different memories, at equal parameters and equal time.

    python -m benchmarks.jobs.language_models [--text library] [--memories GRU attention]
        [--minutes 15 | --steps 2000] [--parameters 1000000] [--size 128] [--layers 4]

Each model has layers of a memory and a gated feed-forward network, whose hidden size makes the
number of parameters equal. It is trained by truncated backpropagation through windows of 128 bytes
with a carried state, by AdamW with a learning rate that rises and falls; a few steps are timed to
choose how many fit into the minutes, and the tests are not part of them. The streams are spread
over all devices: the cores of a CPU.

"shakespeare" is tinyshakespeare, where one character is one byte; "library" is 10 MB of the sources
and documentation of Python's standard library. The last tenth is for the test, of which 100,000
bytes are read. Bytes per second of generation are those of one sampled stream.
"""

import argparse
import functools
import sys
import time
from collections.abc import Callable

import jax
import numpy as np

from seqmem import models

from ..common.devices import devices_for, on_first_device
from ..common.options import positive_float, positive_int, training_parser
from ..common.records import Row, markdown_table, provenance, versions_text, write_csv, write_record
from .character_model import steps_within, train
from .character_training import Job, Settings
from .language_bodies import MIXERS, language_model, num_entries
from .language_texts import TEXTS, Text
from .language_training import BATCH, WINDOW, make_job

PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "optax")
COMPARED = ("Gated DeltaNet", "Mamba-2", "GRU", "attention")
GENERATED = 1000  # bytes
BITS = 1 / np.log(2)


def parse_options() -> argparse.Namespace:
    parser = training_parser(__doc__)
    add = parser.add_argument
    add("--text", choices=TEXTS, default="shakespeare")
    add("--memories", nargs="+", choices=MIXERS, default=COMPARED)
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--minutes", type=positive_float, default=15, help="of training, each")
    limit.add_argument("--steps", type=positive_int, help="of training")
    add("--parameters", type=positive_int, default=1_000_000)
    add("--size", type=positive_int, default=128, help="features of a vector")
    add("--layers", type=positive_int, default=4)
    add("--seed", type=int, default=0)
    return parser.parse_args()


def generate(model: models.LanguageModel, prompt: bytes, length: int) -> tuple[bytes, float]:
    """A sample after a prompt, and the bytes per second."""
    ids = np.frombuffer(prompt, np.uint8).astype(np.int32)
    sample = functools.partial(models.generate, model, ids, max_length=length)
    jax.block_until_ready(sample(key=jax.random.key(0)))
    start = time.perf_counter()
    tokens = sample(key=jax.random.key(1)).tokens.block_until_ready()
    return bytes(np.asarray(tokens, np.uint8)), length / (time.perf_counter() - start)


def measure(memory: str, options: argparse.Namespace, text: Text) -> tuple[Row, list[Row]]:
    """The summary of one memory, and its test losses during training."""
    devices = devices_for(BATCH, options.devices)
    sizes = options.size, options.layers, options.parameters
    make_model = functools.partial(language_model, memory, *sizes)

    def make(settings: Settings) -> Job:
        return make_job(make_model, settings.steps, settings.seed, text, devices)

    settings = Settings(memory, options.size, 1000, options.seed, "float32")
    steps = options.steps or steps_within(options.minutes, make, settings)
    settings = settings._replace(steps=steps)
    run = train(make(settings), settings, WINDOW * BATCH)
    model = on_first_device(run.model)
    sample, generated = generate(model, b"\n", GENERATED)
    rows = [
        {"memory": memory, "step": row["step"], "bits_per_byte": BITS * row["test_loss"]}
        for row in run.rows
    ]
    summary = {
        "memory": memory,
        "parameters": num_entries(model),
        "steps": steps,
        "bits_per_byte": rows[-1]["bits_per_byte"],
        "best": min(row["bits_per_byte"] for row in rows),
        "seconds": run.seconds,
        "trained_bytes_per_second": run.characters_per_second,
        "generated_bytes_per_second": generated,
        "state_bytes": sum(leaf.nbytes for leaf in jax.tree.leaves(model.init_state())),
        "sample": sample.decode(errors="replace"),
    }
    return summary, rows


def table(summaries: list[Row]) -> str:
    columns: dict[str, Callable[[Row], str]] = {
        "memory": lambda row: row["memory"],
        "bits per byte": lambda row: f"{row['bits_per_byte']:.3f}",
        "best": lambda row: f"{row['best']:.3f}",
        "parameters": lambda row: f"{row['parameters']:,}",
        "steps": lambda row: f"{row['steps']:,}",
        "seconds": lambda row: f"{row['seconds']:.0f}",
        "trained B/s": lambda row: f"{row['trained_bytes_per_second']:,.0f}",
        "generated B/s": lambda row: f"{row['generated_bytes_per_second']:,.0f}",
        "state, bytes": lambda row: f"{row['state_bytes']:,}",
    }
    return markdown_table(
        list(columns), [[column(row) for column in columns.values()] for row in summaries]
    )


def main() -> None:
    options = parse_options()
    text = TEXTS[options.text]()
    summaries, rows = [], []
    for memory in options.memories:
        summary, memory_rows = measure(memory, options, text)
        summaries.append(summary)
        rows += memory_rows
        print(table(summaries), flush=True)
    record = provenance("benchmarks.jobs.language_models", PACKAGES) | {
        "text": text.source,
        "sha256": text.sha256,
        "size": options.size,
        "layers": options.layers,
        "window": WINDOW,
        "batch": BATCH,
        "runs": summaries,
    }
    report = "\n\n".join(
        [
            f"`{record['command']}`",
            f"{record['machine']}, {record['date']}. {versions_text(record)}",
            f"{options.layers} layers of {options.size} features on {text.source}, windows of "
            f"{WINDOW} bytes of {BATCH} streams; test on the last tenth.",
            table(summaries),
        ]
    )
    paths = write_record(options.out, f"language_models_{options.text}", record, report)
    paths.append(paths[0].with_suffix(".csv"))
    write_csv(paths[-1], rows)
    for path in paths:
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
