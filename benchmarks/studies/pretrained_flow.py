"""What gradients and states do over time in a whole language model.

    python -m benchmarks.studies.pretrained_flow [--model FOLDER] [--text FILE] [--length 512]
    python -m benchmarks.studies.pretrained_flow [--memory GRU] [--minutes 2]

Four questions, each a panel of the figure:

* the norm of the gradient of one token's loss with respect to what each layer gets, against the
  lag, and how far it reaches back;
* the half-life of what another past leaves in the state of each layer, under the same inputs, for
  each head;
* how long the predictions differ where one token was another one;
* the bits per token against the number of tokens read so far.

With a folder, as `seqmem.models.from_pretrained` reads it, the model is a published one and the
text is split by its tokenizer. Without, a small model of bytes is trained for two minutes on
Python's standard library, and the text is the part that it has not seen.
"""

import argparse
import functools
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from seqmem import data, gradients, models

from ..common.devices import devices_for, on_first_device
from ..common.options import positive_float, positive_int, training_parser
from ..common.plots import COLOURS, STYLE
from ..common.records import Row, markdown_table, provenance, versions_text, write_record
from ..jobs.character_model import steps_within, train
from ..jobs.character_training import Job, Settings
from ..jobs.language_bodies import MIXERS, language_model
from ..jobs.language_texts import TEXTS
from ..jobs.language_training import BATCH, WINDOW, make_job
from .flow_measures import (
    by_octave,
    losses_by_position,
    state_memories,
    stream_gradients,
    token_influence,
)

PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "optax")
SEGMENT = 256  # tokens that are read at once


def parse_options() -> argparse.Namespace:
    parser = training_parser(__doc__)
    add = parser.add_argument
    add("--model", type=pathlib.Path, help="folder of a published model")
    add("--text", type=pathlib.Path, help="file with a text that the model has not seen")
    add("--memory", choices=MIXERS, default="Gated DeltaNet", help="of the small model")
    add("--size", type=positive_int, default=128, help="features of a vector in it")
    add("--layers", type=positive_int, default=4, help="of it")
    add("--parameters", type=positive_int, default=1_000_000, help="of it")
    add("--minutes", type=positive_float, default=2, help="of training the small model")
    add("--steps", type=positive_int, help="of training it, instead")
    add("--length", type=positive_int, default=512, help="lags")
    add("--context", type=positive_int, default=65_536, help="tokens read for the last panel")
    add("--streams", type=positive_int, default=8, help="texts that each mean is over")
    add("--seed", type=int, default=0)
    return parser.parse_args()


def small_model(options: argparse.Namespace) -> tuple[str, models.LanguageModel, np.ndarray]:
    """Its name, a model that was trained for some minutes, and bytes that it has not seen."""
    text, devices = TEXTS["library"](), devices_for(BATCH, options.devices)
    sizes = options.size, options.layers, options.parameters
    make_model = functools.partial(language_model, options.memory, *sizes)

    def make(settings: Settings) -> Job:
        return make_job(make_model, settings.steps, settings.seed, text, devices)

    settings = Settings(options.memory, options.size, 1000, options.seed, "float32")
    steps = options.steps or steps_within(options.minutes, make, settings)
    settings = settings._replace(steps=steps)
    run = train(make(settings), settings, WINDOW * BATCH)
    name = f"{options.memory}, {options.layers} layers of {options.size}, {steps} training steps"
    return name, on_first_device(run.model), text.test.astype(np.int32)


def published_model(options: argparse.Namespace) -> tuple[str, models.LanguageModel, np.ndarray]:
    """Its name, a published model, and the tokens of a text."""
    model = models.from_pretrained(options.model)
    text = data.read_text(options.text)
    tokens = np.asarray(models.load_tokenizer(options.model).encode(text).ids, np.int32)
    return options.model.resolve().name, model, tokens


def streams_of(tokens: np.ndarray, count: int, length: int) -> np.ndarray:
    """So many parts [length + 1, count] of a text, evenly spread over it.

    Raises:
        ValueError: where the text is shorter than one part.
    """
    starts = np.linspace(0, len(tokens) - length - 1, count).astype(int)
    if starts[-1] < 0 or starts[0] < 0:
        raise ValueError(
            f"a text of {len(tokens)} tokens for {length}: pass a longer one with --text, or a "
            "smaller --length or --context."
        )
    return np.stack([tokens[start : start + length + 1] for start in starts], 1)


def measure(model: Any, tokens: np.ndarray, options: argparse.Namespace) -> Row:
    """All curves and numbers."""
    parts = streams_of(tokens, options.streams, options.length)
    others = np.roll(parts, 1, 1)
    norms = np.asarray(stream_gradients(model, parts[:-1], parts[-1]))
    horizons = gradients.gradient_horizons(norms.T)
    context = min(options.context, len(tokens) - 1) // SEGMENT * SEGMENT
    long = streams_of(tokens, options.streams, context)
    inputs, targets = (part.reshape(-1, SEGMENT, options.streams) for part in (long[:-1], long[1:]))
    position = options.length // 8
    influence = token_influence(model, parts[:-1], others[position], position=position)
    return {
        "gradients": norms.tolist(),
        "horizons": [np.asarray(values).tolist() for values in horizons],
        "memories": [
            {"layer": memory.layer, "leaf": memory.leaf, "half_lives": memory.half_lives.tolist()}
            for memory in state_memories(model, parts[:-1], others[:-1])
        ],
        "influence": np.asarray(influence).tolist(),
        "context": [
            (end, loss / np.log(2))
            for end, loss in by_octave(np.asarray(losses_by_position(model, inputs, targets)))
        ],
    }


def report(record: Row) -> str:
    """The record in Markdown."""
    horizon, _, half_life = record["horizons"]
    last = len(record["gradients"][0]) - 1
    lags = [lag for lag in (1, 8, 64) if lag < last] + [last]
    flow = [
        [str(layer), *(f"{norms[lag]:.2g}" for lag in lags), f"{half:.0f}", f"{reach:.0f}"]
        for layer, (norms, half, reach) in enumerate(
            zip(record["gradients"], half_life, horizon, strict=True)
        )
    ]
    memories = [
        [
            str(memory["layer"]),
            memory["leaf"] or "state",
            str(len(memory["half_lives"])),
            *(f"{value:.3g}" for value in _spread(memory["half_lives"])),
        ]
        for memory in record["memories"]
    ]
    influence = [
        [str(lag), f"{record['influence'][lag]:.1e}"]
        for lag in (0, 1, 4, 16, 64, 256)
        if lag < len(record["influence"])
    ]
    context = [[f"{end:,}", f"{bits:.3f}"] for end, bits in record["context"]]
    return "\n\n".join(
        [
            f"`{record['command']}`",
            f"{record['machine']}, {record['date']}. {versions_text(record)}",
            record["model"],
            markdown_table(
                ["layer", *(f"gradient, lag {lag}" for lag in lags), "half-life", "1/e after"], flow
            ),
            markdown_table(
                ["layer", "array", "heads", "least half-life", "median", "largest"], memories, 2
            ),
            markdown_table(["steps since a token", "change of the predictions"], influence),
            markdown_table(["tokens read", "bits per token"], context),
        ]
    )


def _spread(values: Sequence[float]) -> list[float]:
    """The least, the median and the largest of some numbers, which may be infinite."""
    ordered = sorted(values)
    return [ordered[0], ordered[len(ordered) // 2], ordered[-1]]


def draw(path: pathlib.Path, record: Row) -> None:
    """The four panels."""
    with matplotlib.rc_context(STYLE):
        figure = Figure((6.7, 4.6), dpi=200, layout="constrained")
        (flow, memory), (influence, context) = figure.subplots(2, 2)
        count = len(record["gradients"])
        for layer, norms in enumerate(record["gradients"]):
            colour = COLOURS[0] if count == 1 else matplotlib.colormaps["viridis"](layer / count)
            flow.loglog(range(1, len(norms) + 1), norms, color=colour, lw=0.8)
        flow.set(xlabel="lag + 1", ylabel="gradient norm", title="dark: lower layers")
        for index, entry in enumerate(record["memories"]):
            values = np.asarray(entry["half_lives"], float)
            values = values[np.isfinite(values)]
            colour = COLOURS[index % len(COLOURS)]
            memory.semilogy(np.full(len(values), entry["layer"]), values, "o", ms=3, color=colour)
        memory.set(xlabel="layer", ylabel="half-life of the state, steps")
        influence.loglog(range(1, len(record["influence"]) + 1), record["influence"], COLOURS[0])
        influence.set(xlabel="steps since the token + 1", ylabel="change of the predictions")
        ends, bits = zip(*record["context"], strict=True)
        context.semilogx(ends, bits, "o-", ms=3, color=COLOURS[0], base=2)
        context.set(xlabel="tokens read", ylabel="bits per token")
        figure.savefig(path)


def main() -> None:
    options = parse_options()
    name, model, tokens = (small_model if options.model is None else published_model)(options)
    record = provenance("benchmarks.studies.pretrained_flow", PACKAGES) | {"model": name}
    record |= measure(model, tokens, options)
    print(report(record))
    paths = write_record(options.out, "pretrained_flow", record, report(record))
    paths.append(paths[0].with_suffix(".png"))
    draw(paths[-1], record)
    for path in paths:
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
