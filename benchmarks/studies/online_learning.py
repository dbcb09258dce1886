"""Online gradients beside those through time: their bias, and what a network learns from them.

    python -m benchmarks.studies.online_learning [--hidden 32] [--steps 20000] [--seeds 3]

The task is to name the last symbol. One of eight comes at a step with probability 1/20, else a
blank, and the answer at every step is the last symbol that came; the loss is the cross entropy.
Networks are one cell and a linear readout.

The first table compares the gradients of one sequence batch with those of backpropagation through
time (`gradients.online_bias`), without those of the readout, which are exact: of networks as they
start, and after training. "GRU, sparse" has one in eight of the recurrent weights, where SnAp-2 is
not yet RTRL; while it is trained its zeros stay.

The second table is of networks that are trained on a stream without a backward pass over time: at
every step Adam gets the gradient of that step's loss alone, summed over the batch of streams.
"BPTT" is trained on windows of the same streams with a carried state, one update a window, until it
has read as many steps, so it makes fewer updates, with a larger learning rate. Neither rate was
tuned. Accuracy is on new streams. RFLO has a random feedback, drawn once for each network.
"""

import argparse
import pathlib
import statistics
import sys
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from jaxtyping import Array, PRNGKeyArray
from matplotlib.figure import Figure
from tqdm import tqdm

import seqmem
from seqmem import gradients

from ..common.curves import group_rows
from ..common.options import positive_float, positive_int
from ..common.plots import COLOURS, HEIGHT, STYLE, WIDTH
from ..common.records import (
    Row,
    markdown_table,
    provenance,
    versions_text,
    write_csv,
    write_record,
)
from .online_problem import (
    ALGORITHMS,
    CELLS,
    RATE,
    SYMBOLS,
    FixedReadout,
    Network,
    Training,
    loss_of,
    make_network,
    make_stream,
    train_online,
    train_through_time,
)

PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "optax", "numpy")
BIAS_TIME, BIAS_BATCH = 60, 8
LEARNED = [  # cell and algorithm
    ("MinGRU", "BPTT"),
    ("MinGRU", "SnAp-1"),
    ("GRU", "BPTT"),
    ("GRU", "SnAp-1"),
    ("GRU", "e-prop"),
    ("GRU", "RFLO"),
    ("GRU", "UORO"),
]


@jax.jit
def accuracy_of(network: Network, key: PRNGKeyArray) -> Array:
    xs, answers = make_stream(key, jnp.zeros(64, jnp.int32), 500)
    outputs = seqmem.unroll(network, None, xs)[1]
    return (outputs.argmax(-1) == answers)[100:].mean()


def measure_bias(name: str, options: argparse.Namespace, training: Training) -> list[Row]:
    """The gradients of one network, before and after training."""
    keys = jax.random.split(jax.random.key(0), 5)
    start = make_network(name, options.hidden, keys[0])
    xs, answers = make_stream(keys[1], jnp.zeros(BIAS_BATCH, jnp.int32), BIAS_TIME)
    trained = train_through_time(start, keys[2], training)[0]
    bias = gradients.online_bias(loss_of, num_draws=options.draws)
    rows = []
    for label, network in (("start", start), ("trained", trained)):
        for algorithm in options.algorithms:
            make = ALGORITHMS[algorithm]
            online = make(FixedReadout(network.cell, network.V, network.b), keys[3])
            result = bias(online, xs, answers, key=keys[4])
            trace = jax.eval_shape(online.init_state).trace
            numbers = [leaf for leaf in jax.tree.leaves(trace) if leaf.dtype == jnp.float32]
            row = {"network": name, "at": label, "algorithm": algorithm}
            row |= {key: float(value) for key, value in result._asdict().items()}
            rows.append(row | {"trace": sum(leaf.size for leaf in numbers)})
    return rows


def measure_learning(name: str, algorithm: str, seed: int, hidden: int, training: Training) -> Row:
    """The accuracy and the losses of one network."""
    keys = jax.random.split(jax.random.key(100 + seed), 4)
    network = make_network(name, hidden, keys[0])
    if algorithm == "BPTT":
        network, losses = train_through_time(network, keys[1], training)
    else:
        network, losses = train_online(ALGORITHMS[algorithm](network, keys[2]), keys[1], training)
    row: Row = {"network": name, "algorithm": algorithm, "seed": seed}
    return row | {"accuracy": float(accuracy_of(network, keys[3])), "losses": losses.tolist()}


def report_bias(rows: Sequence[Row]) -> str:
    lines = []
    for row in rows:
        numbers = [f"{row[key]:.3f}" for key in ("cosine", "relative")]
        variance = f"{row['variance']:.3g}" if row["variance"] else "0"
        place = [row["network"], row["at"], row["algorithm"]]
        lines.append([*place, *numbers, variance, str(row["trace"])])
    head = ["network", "at", "algorithm", "cosine", "bias", "variance", "numbers in the trace"]
    return markdown_table(head, lines, left=3)


def report_learning(rows: Sequence[Row]) -> str:
    groups = group_rows(rows, "network", "algorithm")
    means = {key: statistics.mean(row["accuracy"] for row in runs) for key, runs in groups.items()}
    lines = []
    for (network, algorithm), runs in groups.items():
        seeds = ", ".join(f"{row['accuracy']:.4f}" for row in runs)
        mean = means[network, algorithm]
        share = mean / means.get((network, "BPTT"), float("nan"))
        lines.append([network, algorithm, seeds, f"{mean:.4f}", f"{share:.3f}"])
    return markdown_table(["network", "algorithm", "accuracy", "mean", "of BPTT's"], lines, left=2)


def draw(path: pathlib.Path, rows: Sequence[Row], window: int) -> None:
    """Draw the mean loss over the seeds against the steps read."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, HEIGHT), dpi=300, layout="constrained")
        axes = figure.add_subplot()
        groups = group_rows(rows, "network", "algorithm").items()
        for place, ((network, algorithm), runs) in enumerate(groups):
            losses = np.mean([row["losses"] for row in runs], axis=0)
            steps = window * (1 + np.arange(len(losses)))
            style = {"color": COLOURS[place % len(COLOURS)], "label": f"{network}, {algorithm}"}
            axes.plot(steps, losses, lw=1, ls="--" if algorithm == "BPTT" else "-", **style)
        axes.set(xlabel="steps read by a stream", ylabel="cross entropy (nats)", yscale="log")
        axes.legend(frameon=False)
        figure.savefig(path)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    names = [name for name in CELLS if name != "MinGRU"]
    add("--cells", nargs="*", default=names, choices=names, help="networks of the first table")
    names = list(ALGORITHMS)
    add("--algorithms", nargs="+", default=names, choices=names, help="those of both tables")
    add("--hidden", type=positive_int, default=32, help="units")
    add("--draws", type=positive_int, default=50, help="gradients drawn by UORO")
    add("--steps", type=positive_int, default=20_000, help="steps of a stream to train on")
    add("--window", type=positive_int, default=100, help="steps of a window of BPTT")
    add("--batch", type=positive_int, default=16, help="streams")
    add("--bptt-rate", type=positive_float, default=1e-2)
    add("--online-rate", type=positive_float, default=1e-3)
    add("--seeds", type=positive_int, default=3, help="networks of each line of the second table")
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


def main() -> None:
    options = parse_options()
    sizes = options.steps, options.window, options.batch
    through_time, online = (Training(*sizes, r) for r in (options.bptt_rate, options.online_rate))
    biases, learned = [], []
    runs = [run for run in LEARNED if run[1] in ("BPTT", *options.algorithms)]
    with tqdm(total=len(options.cells) + options.seeds * len(runs), unit="network") as bar:
        for name in options.cells:
            bar.set_description(f"bias, {name}")
            biases += measure_bias(name, options, through_time)
            bar.update()
        for name, algorithm in runs:
            for seed in range(options.seeds):
                bar.set_description(f"{name}, {algorithm}")
                training = through_time if algorithm == "BPTT" else online
                learned.append(measure_learning(name, algorithm, seed, options.hidden, training))
                bar.update()

    record = provenance("benchmarks.studies.online_learning", PACKAGES)
    record |= {key: value for key, value in vars(options).items() if key != "out"}
    record |= {"bias": biases, "learned": learned}
    text = (
        f"# Online gradients\n\n{record['machine']}, {record['date']}: `{record['command']}`. "
        f"{versions_text(record)}\n\nOne of {SYMBOLS} symbols with probability {RATE:g}; name the "
        f"last one. Gradients of {BIAS_BATCH} sequences of {BIAS_TIME} steps, {options.hidden} "
        f"units, float32; bias ‖E g' − g‖/‖g‖, variance E ‖g' − E g'‖²/‖g‖² ({options.draws} draws "
        f"of UORO, whose bias is √(variance/draws) by chance).\n\n{report_bias(biases)}\n\n"
        f"Accuracy after {options.steps:,} steps of {options.batch} streams, a network for each "
        f"seed. The answer without a memory is right in {RATE + (1 - RATE) / SYMBOLS:.3f} of the "
        f"steps.\n\n{report_learning(learned)}\n"
    )
    print(text)
    paths = write_record(options.out, "online_learning", record, text)
    stem = paths[0].with_suffix("")
    write_csv(stem.with_suffix(".csv"), biases)
    draw(stem.with_suffix(".png"), learned, options.window)
    for path in (*paths, stem.with_suffix(".csv"), stem.with_suffix(".png")):
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
