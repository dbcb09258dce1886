"""How long an echo state network forecasts the Lorenz system, its readout solved in closed form.

    python -m benchmarks.studies.reservoir [--sizes 100 300 600] [--seeds 3] [--starts 50]

A reservoir reads trajectories of the Lorenz system of 1963 (σ = 10, ρ = 28, β = 8/3), each
coordinate with mean 0 and variance 1, and a linear readout of its state and the squares of half of
its units is fitted to the difference to the next step by `training.fit_readout`. Then it runs on
its own output from new starting points. The horizon is the time until the error first exceeds 0.4
of the root mean square of the trajectory, in Lyapunov times of 1/0.906. Without a model the last
state is the forecast.

Radius and scale of the inputs were chosen by hand, the better of two settings. The smaller α, the
longer the horizon, as long as √α is above the rounding of the largest singular value of the states,
about 1e-14 in float64 and 1e-5 in float32: 1e-9 is an α for float32. Trajectories are float64.
A horizon depends on the definition of the error, on noise, and on how exactly the data are
integrated, so figures of the literature are beside it for the order of magnitude alone.
"""

import argparse
import functools
import pathlib
import sys
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from jaxtyping import Array
from matplotlib.figure import Figure
from tqdm import tqdm

import seqmem
from seqmem import tasks, training

from ..common.curves import group_rows
from ..common.options import positive_float, positive_int
from ..common.plots import BLUE, HEIGHT, RED, STYLE, WIDTH
from ..common.records import Row, as_json, markdown_table, provenance, write_csv

PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "numpy")
EXPONENT = 0.906  # the largest Lyapunov exponent: sprott.physics.wisc.edu/chaos/lorenzle.htm
SYSTEM = tasks.Lorenz63(dt=0.02, substeps=10)
TRANSIENT = 2000  # inputs from a random point to the attractor
WASHOUT = 100  # inputs before the readout is fitted, and before a forecast begins
THRESHOLD = 0.4  # of the root mean square of the trajectory
EXAMPLES = 8  # trajectories that the readout is fitted to
LITERATURE = """In the literature, for the Lorenz system without noise: more than 30 Lyapunov times
(Hurley & Shaheen 2025, arXiv:2508.06730, abstract: parameters chosen with care, a regularisation
that favours overfitting), and up to a few Lyapunov times where a part of the state is observed
(arXiv:2306.10797, abstract)."""


class Features(eqx.Module):
    """The state of a reservoir, and the squares of every second unit."""

    def __call__(self, h: Array) -> Array:
        return jnp.concatenate([h, h[1::2] ** 2])


def make_reservoir(size: int, options: argparse.Namespace, seed: int) -> seqmem.AbstractCell:
    reservoir = seqmem.EchoState(
        3,
        size,
        spectral_radius=options.radius,
        sparsity=0.9,
        input_scale=options.input_scale,
        bias_scale=0.5,
        key=jax.random.key(seed),
    )
    net = seqmem.layers.Stack([reservoir, seqmem.layers.Map(Features(), input_shape=(size,))])
    return jax.tree.map(lambda leaf: leaf.astype(options.dtype), net)


@functools.partial(jax.jit, static_argnames="steps")
def forecast(net: seqmem.AbstractCell, readout: eqx.nn.Linear, xs: Array, *, steps: int) -> Array:
    """[steps, examples, 3]: the system after the last of `xs`, from the network's own outputs."""
    state, features = seqmem.unroll(net, None, xs)

    def step_of_one(state, features, x):
        x = x + readout(features)
        state, features = net(state, x)
        return state, features, x

    def step(carry, _):
        carry = jax.vmap(step_of_one)(*carry)
        return carry, carry[2]

    return jax.lax.scan(step, (state, features[-1], xs[-1]), length=steps)[1]


def horizons(truth: Array, prediction: Array) -> np.ndarray:
    """The Lyapunov times until the error exceeds the threshold; at most the length of the truth."""
    error = jnp.linalg.norm(prediction - truth, axis=-1) / 3**0.5  # the variance of each is 1
    is_far = jnp.concatenate([~(error <= THRESHOLD), jnp.ones((1, error.shape[1]), bool)])
    return np.asarray(is_far.argmax(0)) * SYSTEM.dt * EXPONENT


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--sizes", type=positive_int, nargs="+", default=[100, 300, 600], help="units")
    add("--seeds", type=positive_int, default=3, help="reservoirs of each size")
    add("--starts", type=positive_int, default=50, help="forecasts of each reservoir")
    add("--steps", type=positive_int, default=2500, help="inputs of one trajectory to fit")
    add("--radius", type=positive_float, default=0.1, help="spectral radius")
    add("--input-scale", type=positive_float, default=0.1)
    add("--alpha", type=positive_float, default=1e-24, help="weight of the readout's norm")
    add("--horizon", type=positive_int, default=3000, help="steps of a forecast")
    add("--dtype", choices=("float32", "float64"), default="float64", help="of reservoir and data")
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


def measure(options: argparse.Namespace, size: int, seed: int, data: tuple) -> list[Row]:
    """The horizon of every start."""
    fitted, tested = data
    net = make_reservoir(size, options, seed)
    readout, _ = training.fit_readout(
        net,
        None,
        fitted[:-1],
        fitted[1:] - fitted[:-1],
        washout=min(WASHOUT, options.steps // 2),
        alpha=options.alpha,
    )
    prediction = forecast(net, readout, tested[:WASHOUT], steps=len(tested) - WASHOUT)
    times = horizons(tested[WASHOUT:], prediction)
    return [
        {"size": size, "seed": seed, "start": start, "horizon": float(time)}
        for start, time in enumerate(times)
    ]


def report(rows: Sequence[Row]) -> str:
    """A line per size: quartiles over reservoirs and starts, in Lyapunov times."""
    lines = []
    for (size,), forecasts in group_rows(rows, "size").items():
        times = [row["horizon"] for row in forecasts]
        quartiles = np.percentile(times, [25, 50, 75])
        label = "last state" if size == 0 else str(size)
        lines.append([label, str(len(times)), *(f"{x:.1f}" for x in (*quartiles, np.mean(times)))])
    return markdown_table(["units", "forecasts", "25 %", "median", "75 %", "mean"], lines)


def draw(path: pathlib.Path, rows: Sequence[Row]) -> None:
    """Draw the share of forecasts that are still valid, against time."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, HEIGHT), dpi=300, layout="constrained")
        axes = figure.add_subplot()
        groups = group_rows(rows, "size")
        for place, ((size,), forecasts) in enumerate(groups.items()):
            times = np.sort([row["horizon"] for row in forecasts])
            share = 1 - np.arange(len(times)) / len(times)
            color = RED if size == 0 else BLUE
            label = "last state" if size == 0 else f"{size} units"
            shade = (place + 1) / len(groups)
            axes.step(times, share, where="pre", color=color, alpha=shade, label=label)
        axes.set(xlabel="time (Lyapunov times)", ylabel="valid forecasts", ylim=(0, 1))
        axes.legend(frameon=False)
        figure.savefig(path)


def measure_all(options: argparse.Namespace) -> list[Row]:
    """The horizon of every forecast, of the last state and of every reservoir."""
    keys = jax.random.split(jax.random.key(0))
    trajectories = functools.partial(SYSTEM.trajectories, transient=TRANSIENT)
    fitted = trajectories(keys[0], EXAMPLES, options.steps + 1)
    tested = trajectories(keys[1], options.starts, WASHOUT + options.horizon)
    mean, deviation = fitted.mean((0, 1)), fitted.std((0, 1))
    fitted, tested = (fitted - mean) / deviation, (tested - mean) / deviation
    fitted, tested = (xs.astype(options.dtype) for xs in (fitted, tested))
    still = jnp.broadcast_to(tested[WASHOUT - 1], tested[WASHOUT:].shape)
    rows: list[Row] = [
        {"size": 0, "seed": 0, "start": start, "horizon": float(time)}
        for start, time in enumerate(horizons(tested[WASHOUT:], still))
    ]
    cases = [(size, seed) for size in options.sizes for seed in range(options.seeds)]
    for size, seed in tqdm(cases, unit="reservoir"):
        rows += measure(options, size, seed, (fitted, tested))
    return rows


def main() -> None:
    options = parse_options()
    with jax.enable_x64(True):
        rows = measure_all(options)
    record = provenance("benchmarks.studies.reservoir", PACKAGES)
    names = ("sizes", "seeds", "starts", "steps", "radius", "input_scale", "alpha", "horizon")
    record |= {name: getattr(options, name) for name in names}
    record |= {"dtype": options.dtype, "threshold": THRESHOLD, "exponent": EXPONENT, "rows": rows}
    text = f"{record['machine']}, {record['date']}: `{record['command']}`\n\n{report(rows)}\n"
    text += f"\n{LITERATURE}\n"
    print(text)
    folder = pathlib.Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"reservoir.{kind}" for kind in ("csv", "json", "md", "png")]
    write_csv(paths[0], rows)
    paths[1].write_text(as_json(record, indent=None))
    paths[2].write_text(text)
    draw(paths[3], rows)
    for path in paths:
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
