"""Whether a network that learned to predict the Lorenz system moves like it, by forms of teacher
forcing.

    python -m benchmarks.studies.reconstruction [--methods generalised sparse] [--seeds 2]

The network is the shallow one of Hess et al. 2023, arXiv:2306.04406, with tanh in place of relu,

    z_t = A ∘ z_{t−1} + W₁ tanh(W₂ z_{t−1} + h₂) + h₁

whose three states are the standardised coordinates. It is trained on windows of trajectories by
`training.teacher_forced`: with α from `training.forcing_alpha` (generalised), with α = 1 at every
n-th step, n the time in which an error doubles (sparse), with α = 1 (one step) and with α = 0
(free). Then it runs on its own. Beside its Lyapunov exponents, the table has the state-space
divergence and the distance between power spectra from a trajectory of the true system. The first
line is that of the true system: its exponents by the same instrument, through the cell whose update
is the step of Runge and Kutta, and the distances between two of its trajectories. Sizes and rates
were chosen by hand.
"""

import argparse
import math
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
from jaxtyping import Array, Float
from matplotlib.figure import Figure
from tqdm import tqdm

import seqmem
from seqmem import dynamics, tasks, training

from ..common.options import positive_float, positive_int
from ..common.plots import BLUE, RED, STYLE, WIDTH
from ..common.records import Row, as_json, markdown_table, provenance, write_csv

PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "optax", "numpy")
METHODS = ("generalised", "sparse", "one step", "free")
TRUTH = "true system"
EXAMPLES = 16  # trajectories to train on
CHUNK = 50  # iterations between two estimates of α
DECAY = 0.999**CHUNK  # of α towards a lower estimate
DRAWN = 5000  # steps in a picture


class ShallowNetwork(seqmem.AbstractCell):
    """z_t = A ∘ z_{t−1} + W₁ tanh(W₂ z_{t−1} + h₂) + h₁, without input."""

    input_shape: ClassVar = (0,)

    A: Float[Array, " n"]
    W1: Float[Array, "n hidden"]
    W2: Float[Array, "hidden n"]
    h1: Float[Array, " n"]
    h2: Float[Array, " hidden"]

    def __init__(self, size: int, hidden_size: int, *, key: Array):
        keys = jax.random.split(key, 3)
        self.A = jnp.ones(size)
        self.W1 = 0.1 * jax.random.normal(keys[0], (size, hidden_size)) / hidden_size**0.5
        self.W2 = jax.random.normal(keys[1], (hidden_size, size)) / size**0.5
        self.h1 = jnp.zeros(size)
        self.h2 = jax.random.uniform(keys[2], (hidden_size,), minval=-2, maxval=2)

    def init_state(self):
        return jnp.zeros_like(self.A)

    def project(self, x):
        return x

    def update(self, z, drive):
        return self.A * z + self.W1 @ jnp.tanh(self.W2 @ z + self.h2) + self.h1

    def readout(self, z, drive):
        return z


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    add("--seeds", type=positive_int, default=2, help="networks of each method")
    add("--iterations", type=positive_int, default=4000, help="a multiple of 50")
    add("--hidden", type=positive_int, default=50, help="units of tanh")
    add("--batch", type=positive_int, default=16, help="windows of an iteration")
    add("--window", type=positive_int, default=200, help="steps of a window")
    add("--dt", type=positive_float, default=0.02, help="time of a step")
    add("--rate", type=positive_float, default=5e-3, help="learning rate; it falls to 0")
    add("--steps", type=positive_int, default=50_000, help="steps of a free run")
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


def alphas(method: str, alpha: float, options: argparse.Namespace) -> Array:
    """α of each step of a window."""
    steps = options.window - 1
    if method == "sparse":
        doubling = math.log(2) / tasks.Lorenz63().exponents[0] / options.dt
        return (jnp.arange(steps) % round(doubling) == 0).astype(float)
    return jnp.full(steps, {"one step": 1.0, "free": 0.0}.get(method, alpha))


def draw_windows(key: Array, xs: Array, options: argparse.Namespace) -> Array:
    """[window, batch, 3], from random trajectories and times."""
    keys = jax.random.split(key)
    starts = jax.random.randint(keys[0], (options.batch,), 0, len(xs) - options.window + 1)
    examples = jax.random.randint(keys[1], (options.batch,), 0, xs.shape[1])
    return xs[starts + jnp.arange(options.window)[:, None], examples]


def train(method: str, xs: Array, seed: int, options: argparse.Namespace) -> tuple:
    """The trained network, the last α and loss."""
    cell = ShallowNetwork(3, options.hidden, key=jax.random.key(seed))
    schedule = optax.cosine_decay_schedule(options.rate, options.iterations)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))

    @eqx.filter_jit
    def run_chunk(cell, state, alphas, key):
        def loss(cell, windows):
            predictions = training.teacher_forced(cell, windows, alpha=alphas)
            return ((predictions - windows[1:]) ** 2).mean()

        def step(carry, key):
            cell, state = carry
            value, grads = jax.value_and_grad(loss)(cell, draw_windows(key, xs, options))
            updates, state = optimiser.update(grads, state)
            return (eqx.apply_updates(cell, updates), state), value

        keys = jax.random.split(key, CHUNK + 1)
        (cell, state), values = jax.lax.scan(step, (cell, state), keys[1:])
        estimate = training.forcing_alpha(cell, draw_windows(keys[0], xs, options))
        return cell, state, values.mean(), estimate

    state, alpha, value = optimiser.init(cell), 1.0, math.nan
    for key in jax.random.split(jax.random.key(1000 + seed), options.iterations // CHUNK):
        cell, state, value, estimate = run_chunk(cell, state, alphas(method, alpha, options), key)
        alpha = max(float(estimate), DECAY * alpha + (1 - DECAY) * float(estimate))
    return cell, alpha, float(value)


def compare(xs: Array, ys: Array) -> Row:
    """How far a trajectory ys is from the true one."""
    return {
        "divergence": float(dynamics.state_space_divergence(xs, ys)),
        "distance": float(dynamics.power_spectrum_distance(xs, ys)),
    }


def exponents_of(
    cell: seqmem.AbstractCell, state: Array, options: argparse.Namespace
) -> np.ndarray:
    """Lyapunov exponents per unit of time, from a state on the attractor."""
    inputs = jnp.zeros((options.steps, 0))
    result = dynamics.lyapunov_exponents(cell, state, inputs, key=jax.random.key(0))
    return np.asarray(result.exponents) / options.dt


def row_of(method: str, seed: int, exponents: Sequence[float], **values: float) -> Row:
    """A row, NaN where a value is not given."""
    names = ("divergence", "distance", "alpha", "loss", "seconds")
    rates = {f"exponent_{i + 1}": float(value) for i, value in enumerate(exponents)}
    return {"method": method, "seed": seed, **rates} | {
        name: values.get(name, math.nan) for name in names
    }


def measure_all(options: argparse.Namespace) -> tuple[list[Row], dict[str, np.ndarray]]:
    """A row for every network, and a trajectory of the first one of each method."""
    system = tasks.Lorenz63(dt=options.dt, substeps=max(1, round(options.dt / 0.005)))
    keys = jax.random.split(jax.random.key(0))
    fitted = system.trajectories(keys[0], EXAMPLES, max(2000, 2 * options.window))
    truth = system.trajectories(keys[1], 2, options.steps)
    exponents = exponents_of(system.as_cell(truth[0, 0]), truth[0, 0], options)
    mean, deviation = fitted.mean((0, 1)), fitted.std((0, 1))
    fitted, truth = (fitted - mean) / deviation, (truth - mean) / deviation
    true, other = truth[:, 0], truth[:, 1]
    rows = [row_of(TRUTH, 0, exponents, **compare(true, other))]
    pictures = {TRUTH: np.asarray(true[:DRAWN])}
    cases = [(method, seed) for method in options.methods for seed in range(options.seeds)]
    for method, seed in tqdm(cases, unit="network"):
        start = time.perf_counter()
        cell, alpha, loss = train(method, fitted, seed, options)
        exponents = exponents_of(cell, true[0], options)
        _, ys = eqx.filter_jit(seqmem.unroll)(cell, true[0], jnp.zeros((options.steps, 0)))
        values = {**compare(true, ys), "alpha": alpha, "loss": loss}
        values["seconds"] = time.perf_counter() - start
        rows.append(row_of(method, seed, exponents, **values))
        pictures.setdefault(method, np.asarray(ys[:DRAWN]))
    return rows, pictures


def report(rows: Sequence[Row]) -> str:
    """A line per network."""
    lines = [
        [
            row["method"],
            str(row["seed"]),
            *(f"{row[f'exponent_{i}']:.3f}" for i in (1, 2, 3)),
            f"{row['divergence']:.2f}",
            f"{row['distance']:.3f}",
        ]
        for row in rows
    ]
    heads = ["method", "seed", "λ₁", "λ₂", "λ₃", "D_stsp", "D_H"]
    return markdown_table(heads, lines)


def draw(path: pathlib.Path, pictures: dict[str, np.ndarray]) -> None:
    """Draw the trajectories, the first coordinate against the third."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2 * WIDTH, WIDTH / 2), dpi=300, layout="constrained")
        panels = figure.subplots(1, len(pictures), sharex=True, sharey=True, squeeze=False)[0]
        for axes, (name, xs) in zip(panels, pictures.items(), strict=True):
            color = RED if name == TRUTH else BLUE
            axes.plot(xs[:, 0], xs[:, 2], color=color, linewidth=0.3)
            axes.set(title=name, xlabel="x", xlim=(-3, 3), ylim=(-3, 3.5))
        panels[0].set_ylabel("z")
        figure.savefig(path)


def main() -> None:
    options = parse_options()
    rows, pictures = measure_all(options)
    record = provenance("benchmarks.studies.reconstruction", PACKAGES)
    record |= {name: value for name, value in vars(options).items() if name != "out"}
    record |= {"rows": rows}
    text = f"{record['machine']}, {record['date']}: `{record['command']}`\n\n{report(rows)}\n"
    published = ", ".join(f"{x:g}" for x in tasks.Lorenz63().exponents)
    text += f"\nExponents of the true system in the literature: {published} (Sprott 2003).\n"
    print(text)
    folder = pathlib.Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"reconstruction.{kind}" for kind in ("csv", "json", "md", "png")]
    write_csv(paths[0], rows)
    paths[1].write_text(as_json(record, indent=None))
    paths[2].write_text(text)
    draw(paths[3], pictures)
    for path in paths:
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
