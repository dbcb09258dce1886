"""The edge of chaos: the largest Lyapunov exponent of a random network against its gain.

    python -m benchmarks.studies.chaos [--size 1000] [--gains 0.8 1.5 3] [--steps 1000] [--seeds 2]

h_t = W tanh(h_{t−1}) with W_ij ~ N(0, g²/N). For gains g > 1 the exponent is known in the limit of
a wide network, by mean field theory (Sompolinsky, Crisanti & Sommers 1988, in discrete time). For
g < 1, h decays to 0 and the exponent is the log of W's spectral radius, ln g for N → ∞. The whole
spectrum of a smaller network is computed in float64.
"""

import argparse
import math
import pathlib
import sys
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from jaxtyping import Array
from matplotlib.figure import Figure
from tqdm import tqdm

import seqmem
from seqmem import dynamics
from seqmem.gradients import pictures

from ..common.curves import group_rows
from ..common.options import positive_float, positive_int
from ..common.plots import BLUE, HEIGHT, RED, STYLE, WIDTH
from ..common.records import Row, as_json, markdown_table, provenance, write_csv

TRANSIENT = 300  # steps before the exponents are measured
SPECTRUM_SIZE = 100  # units of the network whose whole spectrum is computed
PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "numpy")
Z = np.linspace(-12, 12, 20_001)  # a standard normal variable; a fine grid, as tanh(g Z) is steep
NORMAL = np.exp(-(Z**2) / 2) / np.exp(-(Z**2) / 2).sum()


class RandomNetwork(seqmem.AbstractCell):
    """h_t = W tanh(h_{t−1}), without input."""

    input_shape = (0,)

    W: Array
    h0: Array

    def __init__(self, size: int, gain: float, *, key):
        keys = jax.random.split(key)
        self.W = gain * jax.random.normal(keys[0], (size, size)) / size**0.5
        self.h0 = jax.random.normal(keys[1], (size,))

    def init_state(self):
        return self.h0

    def project(self, x):
        return x

    def update(self, h, u):
        return jnp.tanh(h) @ self.W.mT

    def readout(self, h, u):
        return h


def mean_field(gain: float) -> float:
    """½ ln(g² E[tanh′(√q z)²]) where q = g² E[tanh(√q z)²], by bisection; for g >= 1 and N → ∞."""
    low, high = 0.0, gain**2
    for _ in range(60):
        q = (low + high) / 2
        grows = gain**2 * NORMAL @ np.tanh(q**0.5 * Z) ** 2 > q
        low, high = (q, high) if grows else (low, q)
    return max(0.0, 0.5 * math.log(gain**2 * NORMAL @ (1 - np.tanh(low**0.5 * Z) ** 2) ** 2))


def theory(network: RandomNetwork, gain: float) -> float:
    if gain >= 1:
        return mean_field(gain)
    return math.log(np.abs(np.linalg.eigvals(np.asarray(network.W))).max())


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    gains = [0.8, 0.9, 1.0, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0]
    add("--size", type=positive_int, default=1000, help="units")
    add("--gains", type=positive_float, nargs="+", default=gains, metavar="g")
    add("--steps", type=positive_int, default=4000, help="steps that are measured")
    add("--seeds", type=positive_int, default=4, help="networks of each gain")
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


def exponents_of(
    network: RandomNetwork, steps: int, k: int | None, seed: int
) -> dynamics.LyapunovExponents:
    """The k largest exponents after the transient. The standard errors are over 20 segments."""
    state, _ = seqmem.unroll(network, None, jnp.zeros((TRANSIENT, 0)))
    key, segment = jax.random.key(seed), max(1, steps // 20)
    xs = jnp.zeros((steps, 0))
    return jax.device_get(
        dynamics.lyapunov_exponents(network, state, xs, k=k, chunk_size=segment, key=key)
    )


def measure(gain: float, seed: int, options: argparse.Namespace) -> Row:
    network = RandomNetwork(options.size, gain, key=jax.random.key(seed))
    result = exponents_of(network, options.steps, 1, seed + 1)
    return {
        "gain": gain,
        "seed": seed,
        "exponent": float(result.exponents[0]),
        "standard_error": float(result.standard_errors[0]),
        "theory": theory(network, gain),
    }


def report(rows: Sequence[Row]) -> str:
    """A line per gain: mean, least and greatest over the seeds, and the difference from theory."""
    lines = []
    for (gain,), networks in group_rows(rows, "gain").items():
        exponents = np.array([row["exponent"] for row in networks])
        expected = np.mean([row["theory"] for row in networks])
        error = f"{100 * (exponents.mean() / expected - 1):+.1f} %" if abs(expected) > 1e-6 else ""
        numbers = (exponents.mean(), exponents.min(), exponents.max(), expected)
        lines.append([f"{gain:g}", *(f"{x:.4f}" for x in numbers), error])
    return markdown_table(["gain", "exponent", "least", "greatest", "theory", "off"], lines)


def draw(path: pathlib.Path, rows: Sequence[Row]) -> None:
    """Draw every network's exponent and the limit of N → ∞."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, HEIGHT), dpi=300, layout="constrained")
        axes = figure.add_subplot()
        gains = [row["gain"] for row in rows]
        grid = np.geomspace(min(gains), max(gains), 200)
        limit = [math.log(gain) if gain < 1 else mean_field(gain) for gain in grid]
        axes.axhline(0, color="0.6", lw=0.6)
        axes.plot(grid, limit, color=RED, label=r"$N \to \infty$")
        exponents = [row["exponent"] for row in rows]
        axes.plot(gains, exponents, ".", ms=4, color=BLUE, label="networks")
        axes.set(xlabel="gain $g$", ylabel=r"exponent $\lambda_1$ (nats per step)")
        axes.legend(frameon=False)
        figure.savefig(path)


def main() -> None:
    options = parse_options()
    rows: list[Row] = []
    spectra: dict[str, np.ndarray] = {}
    gains = sorted(set(options.gains))
    with (
        tqdm(total=len(gains) * (options.seeds + 1), unit="network") as bar,
        jax.default_matmul_precision("highest"),  # a GPU rounds to ten bits by default
    ):
        for gain in gains:
            bar.set_description(f"g = {gain:g}")
            for seed in range(options.seeds):
                rows.append(measure(gain, seed, options))
                bar.update()
            with jax.enable_x64(True):  # in float32, exponents below −16 are rounding errors
                small = RandomNetwork(SPECTRUM_SIZE, gain, key=jax.random.key(0))
                spectra[f"g = {gain:g}"] = exponents_of(small, options.steps, None, 1).exponents
            bar.update()

    record = provenance("benchmarks.studies.chaos", PACKAGES)
    record |= {"size": options.size, "steps": options.steps, "seeds": list(range(options.seeds))}
    record |= {"settling": TRANSIENT, "rows": rows, "spectrum_size": SPECTRUM_SIZE}
    record["spectra"] = {name: exponents.tolist() for name, exponents in spectra.items()}
    print(f"{record['machine']}, {record['date']}: `{record['command']}`\n")
    print(report(rows))

    folder = pathlib.Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    names = ("chaos.csv", "chaos.json", "chaos_edge.png", "chaos_spectra.png")
    paths = [folder / name for name in names]
    write_csv(paths[0], rows)
    paths[1].write_text(as_json(record))
    draw(paths[2], rows)
    pictures.exponents(spectra).savefig(paths[3])
    for path in paths:
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
