"""Gradient flossing: a delayed copy that a recurrent network learns with it, and not without it.

    python -m benchmarks.studies.flossing [--delay 40] [--hidden 64] [--seeds 3] [--steps 2000]

The inputs are random bits, and the target of each step is the bit `delay` steps before it. The
network is an Elman RNN of tanh units with recurrent weights N(0, 1/hidden), which forgets within a
few steps: gradients over the delay vanish. It is trained as it is; after flossing, which moves its
leading Lyapunov exponents to 0; and with flossing also during training. All three train with the
same data, optimiser and number of steps, from the same weights.

The accuracy is that of 256 fresh sequences at the steps whose bit was seen; guessing has 0.5. A run
has solved the task above 0.99.

The second table is of flossing alone: networks of 32 units that noise drives (standard deviation
0.3), from weights N(0, g²/32), g = 0.5 and g = 3. Their 8 leading exponents are measured over 4000
steps of other noise. At g = 3 they are chaotic, where the derivative of an exponent over 120
steps is no descent direction: with Adam alone the loss does not fall. AdamW, which also makes the
recurrent weights decay, takes them out of chaos first.

The task is the first of Engelken 2023, arXiv:2312.17306; sizes, rates and weights are not. Times
are of the machine that is named.
"""

import argparse
import functools
import pathlib
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
from jaxtyping import Array
from matplotlib.figure import Figure
from tqdm import tqdm

import seqmem
from seqmem import dynamics, gradients, training

from ..common.options import positive_float, positive_int
from ..common.plots import BLUE, GREEN, HEIGHT, RED, STYLE, WIDTH
from ..common.records import Row, markdown_table, provenance, versions_text, write_csv, write_record
from ..common.timing import time_interleaved

PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "optax", "numpy")
COLOURS = {"none": RED, "before": BLUE, "before and during": GREEN}
TESTED = 256  # sequences of a score
SOLVED = 0.99
ALONE, MEASURED = 32, 8  # units of the networks that are flossed alone, and their exponents


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--delay", type=positive_int, default=40, help="steps between a bit and its copy")
    add("--hidden", type=positive_int, default=64, help="units")
    add("--seeds", type=positive_int, default=3, help="networks")
    add("--batch", type=positive_int, default=16, help="sequences of a training step")
    add("--steps", type=positive_int, default=2000, help="training steps")
    add("--input-scale", type=positive_float, default=0.3, help="of the input weights")
    add("--lr", type=positive_float, default=1e-3, help="learning rate of training")
    add("--k", type=positive_int, default=48, help="exponents that are flossed")
    add("--floss-steps", type=positive_int, default=200, help="at each position")
    add("--floss-every", type=positive_int, default=500, help="training steps, of the third run")
    add("--floss-lr", type=positive_float, default=3e-3, help="learning rate of flossing")
    add("--floss-time", type=positive_int, default=60, help="steps of time of a flossing step")
    add("--alone-steps", type=positive_int, default=500, help="steps of flossing alone")
    add("--modes", nargs="+", default=list(COLOURS), choices=list(COLOURS))
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


def make_network(hidden: int, input_scale: float, key: Array) -> seqmem.RNN:
    cell = seqmem.RNN(1, hidden, output_size=1, key=key)
    U = jax.random.normal(key, (hidden, hidden)) / hidden**0.5
    return eqx.tree_at(lambda cell: (cell.U, cell.W), cell, (U, input_scale * cell.W))


def draw_bits(key: Array, time: int, batch: int) -> Array:
    """[time, batch, 1] of −1 and 1."""
    return jax.random.rademacher(key, (time, batch, 1), jnp.float32)


def task_loss(delay: int, cell: seqmem.RNN, state: Array, bits: Array) -> tuple:
    """The cross entropy of the bit `delay` steps ago, of every step that has one."""
    state, logits = seqmem.unroll(cell, None, bits)
    losses = jax.nn.softplus(-logits[delay:] * bits[:-delay])
    return losses.sum(), losses.size, state


@functools.partial(jax.jit, static_argnums=0)
def accuracy(delay: int, cell: seqmem.RNN, bits: Array) -> Array:
    _, logits = seqmem.unroll(cell, None, bits)
    return ((logits[delay:] > 0) == (bits[:-delay] > 0)).mean()


def floss_loss(options: argparse.Namespace, cell: seqmem.RNN, key: Array) -> Array:
    """The loss of flossing on inputs of the task, a sequence per step."""
    washout = options.floss_time // 5
    bits = draw_bits(key, options.floss_time + washout, 1)[:, 0]
    k = min(options.k, options.hidden)
    return gradients.floss(cell, None, bits, k=k, washout=washout, key=jax.random.fold_in(key, 1))


class Programs(NamedTuple):
    """What all runs share, so that it is compiled once."""

    gradient: training.TruncatedBPTT
    optimiser: optax.GradientTransformation
    step: Callable
    floss: Callable
    floss_optimiser: optax.GradientTransformation


def make_programs(options: argparse.Namespace) -> Programs:
    loss = functools.partial(task_loss, options.delay)
    gradient = training.TruncatedBPTT(loss, window=2 * options.delay)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(options.lr))
    step = training.make_step(gradient, optimiser)
    floss = functools.partial(floss_loss, options)
    return Programs(gradient, optimiser, step, floss, optax.adam(options.floss_lr))


def train(mode: str, seed: int, options: argparse.Namespace, programs: Programs) -> Row:
    """Train one network, and measure its accuracy on the way."""
    keys = jax.random.split(jax.random.key(seed), 4)
    cell, span = make_network(options.hidden, options.input_scale, keys[0]), 2 * options.delay
    step = programs.step
    if mode != "none":
        every = options.floss_every if mode == "before and during" else options.steps
        step = training.with_flossing(
            step,
            programs.floss,
            programs.floss_optimiser,
            at=range(0, options.steps, every),
            steps=options.floss_steps,
            key=keys[1],
        )
    carry = programs.gradient.init_carry(
        cell.init_state(options.batch), draw_bits(keys[2], span, options.batch)
    )
    state = training.begin_training(cell, programs.optimiser, carry)
    tested, curve = draw_bits(keys[3], span, TESTED), []
    start = time.perf_counter()
    for position in range(options.steps):
        batch = draw_bits(jax.random.fold_in(keys[2], position), span, options.batch)
        state, _ = step(state, batch)
        if (position + 1) % max(1, options.steps // 20) == 0:
            curve.append(float(accuracy(options.delay, state.model, tested)))
    row: Row = {"flossing": mode, "seed": seed, "accuracy": curve[-1], "curve": curve}
    return row | {"seconds": time.perf_counter() - start}


def only_recurrent(cell: seqmem.RNN) -> seqmem.RNN:
    """True at the recurrent weights alone."""
    return eqx.tree_at(lambda cell: cell.U, jax.tree.map(lambda leaf: False, cell), True)


def alone_loss(cell: seqmem.RNN, key: Array) -> Array:
    xs = jax.random.normal(key, (120, 2, ALONE))
    return gradients.floss(cell, None, xs, k=MEASURED + 2, washout=80, key=key)


def alone_optimiser(steps: int) -> optax.GradientTransformation:
    rate = optax.cosine_decay_schedule(1e-2, steps)
    decay = optax.adamw(rate, b2=0.99, weight_decay=1.0, mask=only_recurrent)
    return optax.chain(optax.clip_by_global_norm(1.0), decay)


def exponents_of(cell: seqmem.RNN, key: Array) -> Array:
    keys = jax.random.split(key)
    xs = jax.random.normal(keys[0], (4500, ALONE))
    state, _ = seqmem.unroll(cell, None, xs[:500])
    return dynamics.lyapunov_exponents(cell, state, xs[500:], k=MEASURED, key=keys[1]).exponents


def floss_alone(gain: float, seed: int, steps: int, optimiser: optax.GradientTransformation) -> Row:
    """The exponents of a network that noise drives, before and after flossing."""
    keys = jax.random.split(jax.random.key(seed), 3)
    cell = seqmem.RNN(ALONE, ALONE, key=keys[0])
    U = gain * jax.random.normal(keys[0], (ALONE, ALONE)) / ALONE**0.5
    cell = eqx.tree_at(lambda cell: (cell.U, cell.W), cell, (U, 0.3 * jnp.eye(ALONE)))
    flossed, _ = training.floss_steps(alone_loss, cell, optimiser, steps=steps, key=keys[1])
    before, after = exponents_of(cell, keys[2]), exponents_of(flossed, keys[2])
    row: Row = {"gain": gain, "seed": seed}
    for name, spectrum in (("before", before), ("after", after)):
        row |= {f"first {name}": float(spectrum[0]), f"last {name}": float(spectrum[-1])}
    return row | {"farthest": float(jnp.abs(after).max())}


def time_steps(options: argparse.Namespace, programs: Programs) -> dict[str, float]:
    """The ms of the gradient of a training step and of that of a flossing step."""
    cell = make_network(options.hidden, options.input_scale, jax.random.key(0))
    bits = draw_bits(jax.random.key(1), 2 * options.delay, options.batch)
    of_task = jax.jit(jax.grad(lambda cell: task_loss(options.delay, cell, None, bits)[0]))
    of_floss = jax.jit(jax.grad(programs.floss))
    calls = {
        "training": lambda: jax.block_until_ready(of_task(cell)),
        "flossing": lambda: jax.block_until_ready(of_floss(cell, jax.random.key(2))),
    }
    seconds = time_interleaved(calls, rounds=10)
    return {name: 1e3 * statistics.median(times) for name, times in seconds.items()}


def report(rows: Sequence[Row]) -> str:
    """A line per kind of flossing: the accuracy of each seed."""
    lines = []
    for mode in dict.fromkeys(row["flossing"] for row in rows):
        runs = [row for row in rows if row["flossing"] == mode]
        accuracies = [row["accuracy"] for row in runs]
        solved = sum(accuracy > SOLVED for accuracy in accuracies)
        seconds = statistics.median(row["seconds"] for row in runs)
        scores = ", ".join(f"{accuracy:.3f}" for accuracy in accuracies)
        lines.append([mode, scores, f"{solved} of {len(runs)}", f"{seconds:.0f}"])
    return markdown_table(["flossing", "accuracy of each seed", "solved", "seconds"], lines)


def report_alone(rows: Sequence[Row]) -> str:
    last = f"λ_{MEASURED}"
    head = ["g", "λ_1 before", f"{last} before", "λ_1 after", f"{last} after", "farthest from 0"]
    lines = [[f"{row['gain']:g}", *(f"{row[key]:+.4f}" for key in list(row)[2:])] for row in rows]
    return markdown_table(head, lines)


def draw(path: pathlib.Path, rows: Sequence[Row], steps: int) -> None:
    """Draw the accuracy of every run over training."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, HEIGHT), dpi=300, layout="constrained")
        axes = figure.add_subplot()
        for row in rows:
            positions = steps * np.arange(1, len(row["curve"]) + 1) / len(row["curve"])
            label = row["flossing"] if row["seed"] == 0 else None
            axes.plot(positions, row["curve"], color=COLOURS[row["flossing"]], label=label)
        axes.set(xlabel="training step", ylabel="accuracy")
        axes.legend(title="flossing", frameon=False)
        figure.savefig(path)


def main() -> None:
    options = parse_options()
    programs = make_programs(options)
    runs = [(mode, seed) for mode in options.modes for seed in range(options.seeds)]
    rows = [train(mode, seed, options, programs) for mode, seed in tqdm(runs, unit="run")]
    alone = [(gain, seed) for gain in (0.5, 3.0) for seed in range(options.seeds)]
    steps, optimiser = options.alone_steps, alone_optimiser(options.alone_steps)
    alone_rows = [floss_alone(*case, steps, optimiser) for case in tqdm(alone, unit="network")]
    ms = time_steps(options, programs)

    record = provenance("benchmarks.studies.flossing", PACKAGES)
    settings = {name: value for name, value in vars(options).items() if name != "out"}
    record |= {"options": settings, "ms": ms, "rows": rows, "alone": alone_rows}
    markdown = "\n".join(
        [
            f"# Gradient flossing: a copy after {options.delay} steps\n\n"
            f"{record['machine']}, {record['date']}: `{record['command']}`. "
            f"{versions_text(record)}\n\n"
            f"{options.hidden} tanh units, {options.steps} training steps with {options.batch} "
            f"sequences of {2 * options.delay} bits; {options.floss_steps} steps of flossing of "
            f"{min(options.k, options.hidden)} exponents at a time, during training every "
            f"{options.floss_every} steps.\n",
            report(rows),
            f"\nA gradient of flossing takes {ms['flossing']:.1f} ms (one sequence, "
            f"{options.floss_time} steps of time after the washout), one of the task "
            f"{ms['training']:.1f} ms: {ms['flossing'] / ms['training']:.1f} times.\n",
            f"Flossing alone, {options.alone_steps} steps:\n",
            report_alone(alone_rows),
        ]
    )
    print(markdown)
    paths = write_record(options.out, "flossing", record, markdown)
    stem = paths[0].with_suffix("")
    write_csv(
        stem.with_suffix(".csv"), [{k: v for k, v in r.items() if k != "curve"} for r in rows]
    )
    draw(stem.with_suffix(".png"), rows, options.steps)
    for path in (*paths, stem.with_suffix(".csv"), stem.with_suffix(".png")):
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
