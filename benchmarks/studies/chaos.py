"""The edge of chaos: the greatest Lyapunov exponent of a random network against its gain.

    python -m benchmarks.studies.chaos [--size 1000] [--gains 0.8 1.5 3] [--steps 1000] [--seeds 2]

h_t = W tanh(h_{t−1}) with W_ij ~ N(0, g²/N). Above g = 1 the exponent is known in the limit of a
wide network, by mean field (Sompolinsky, Crisanti & Sommers 1988, in discrete time); below, h fades
to 0 and the exponent is the log of W's spectral radius, ln g for N → ∞. Beside it the whole
spectrum of a smaller network, in float64.
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
from seqmem import gradients
from seqmem.gradients import pictures

from ..common.curves import Row, grouped, write_csv
from ..common.measure import markdown_table, provenance
from ..common.plots import BLUE, HEIGHT, RED, STYLE, WIDTH
from .gradient_norms import as_json, number

SETTLING = 300  # steps before anything is measured
SPECTRUM = 100  # units of the network whose whole spectrum is drawn
PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "numpy")
Z = np.linspace(-12, 12, 20_001)  # a standard normal variable; fine, since tanh(g Z) is steep
NORMAL = np.exp(-(Z**2) / 2) / np.exp(-(Z**2) / 2).sum()


class Network(seqmem.AbstractCell):
    """h_t = W tanh(h_{t−1}), without input."""

    W: Array
    start: Array

    def __init__(self, size: int, gain: float, *, key):
        keys = jax.random.split(key)
        self.W = gain * jax.random.normal(keys[0], (size, size)) / size**0.5
        self.start = jax.random.normal(keys[1], (size,))

    def init_state(self):
        return self.start

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


def theory(network: Network, gain: float) -> float:
    if gain >= 1:
        return mean_field(gain)
    return math.log(np.abs(np.linalg.eigvals(np.asarray(network.W))).max())


def positive(text: str) -> float:
    gain = float(text)
    if not 0 < gain < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0 and finite.")
    return gain


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The edge of chaos in random networks.")
    add = parser.add_argument
    gains = [0.8, 0.9, 1.0, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0]
    add("--size", type=number, default=1000, help="units")
    add("--gains", type=positive, nargs="+", default=gains, metavar="g")
    add("--steps", type=number, default=4000, help="that are measured")
    add("--seeds", type=number, default=4, help="how many networks of each gain")
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


def spectrum(network: Network, steps: int, k: int | None, seed: int) -> dynamics.LyapunovExponents:
    """Of the settled network; the standard error is that of 20 stretches of time."""
    start, _ = seqmem.unroll(network, network.start, jnp.zeros((SETTLING, 0)))
    key, chunk = jax.random.key(seed), max(1, steps // 20)
    xs = jnp.zeros((steps, 0))
    return jax.device_get(dynamics.lyapunov_exponents(network, start, xs, k=k, chunk_size=chunk, key=key))


def measure(gain: float, seed: int, chosen: argparse.Namespace) -> Row:
    network = Network(chosen.size, gain, key=jax.random.key(seed))
    found = spectrum(network, chosen.steps, 1, seed + 1)
    row = {"gain": gain, "seed": seed, "exponent": float(found.exponents[0])}
    row |= {"standard_error": float(found.standard_errors[0]), "theory": theory(network, gain)}
    return row


def table(rows: Sequence[Row]) -> str:
    """A line per gain: the mean over the seeds with its spread, and how far it is from theory."""
    lines = []
    for (gain,), own in grouped(rows, "gain").items():
        found = np.array([row["exponent"] for row in own])
        wanted = np.mean([row["theory"] for row in own])
        off = f"{100 * (found.mean() / wanted - 1):+.1f} %" if abs(wanted) > 1e-6 else ""
        numbers = (found.mean(), found.min(), found.max(), wanted)
        lines.append([f"{gain:g}", *(f"{x:.4f}" for x in numbers), off])
    return markdown_table(["gain", "exponent", "least", "greatest", "theory", "off"], lines)


def draw(path: pathlib.Path, rows: Sequence[Row]) -> None:
    """Every network's exponent beside the limit of N → ∞."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, HEIGHT), dpi=300, layout="constrained")
        axes = figure.add_subplot()
        gains = [row["gain"] for row in rows]
        dense = np.geomspace(min(gains), max(gains), 200)
        limit = [math.log(gain) if gain < 1 else mean_field(gain) for gain in dense]
        axes.axhline(0, color="0.6", lw=0.6)
        axes.plot(dense, limit, color=RED, label=r"$N \to \infty$")
        exponents = [row["exponent"] for row in rows]
        axes.plot(gains, exponents, ".", ms=4, color=BLUE, label="networks")
        axes.set(xlabel="gain $g$", ylabel=r"exponent $\lambda_1$ (nats per step)")
        axes.legend(frameon=False)
        figure.savefig(path)


def main() -> None:
    chosen = options()
    rows: list[Row] = []
    spectra: dict[str, np.ndarray] = {}
    gains = sorted(set(chosen.gains))
    with (
        tqdm(total=len(gains) * (chosen.seeds + 1), unit="network") as bar,
        jax.default_matmul_precision("highest"),  # a GPU would round to ten bits
    ):
        for gain in gains:
            bar.set_description(f"g = {gain:g}")
            for seed in range(chosen.seeds):
                rows.append(measure(gain, seed, chosen))
                bar.update()
            with jax.enable_x64(True):  # in float32 every exponent below −16 is rounding
                small = Network(SPECTRUM, gain, key=jax.random.key(0))
                spectra[f"g = {gain:g}"] = spectrum(small, chosen.steps, None, 1).exponents
            bar.update()

    record = provenance("benchmarks.studies.chaos", PACKAGES)
    record |= {"size": chosen.size, "steps": chosen.steps, "seeds": list(range(chosen.seeds))}
    record |= {"settling": SETTLING, "rows": rows, "spectrum_size": SPECTRUM}
    record["spectra"] = {name: found.tolist() for name, found in spectra.items()}
    print(f"{record['machine']}, {record['date']}: `{record['command']}`\n")
    print(table(rows))

    folder = pathlib.Path(chosen.out)
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
