"""Mean-field theory against random networks, and gradients over a lag at critical gains.

    python -m benchmarks.studies.criticality [--size 1000] [--units 512] [--lag 200] [--seeds 3]

First table: E[h²] and χ of `gradients.mean_field`, and the same of networks with Gaussian weights.
"new weights" permutes the rows of every matrix at every step, so that a unit gets other weights
each time, as the theory assumes; "same weights" is an ordinary network, whose growth per step is to
be compared with the larger of √χ and the radius.

Second table and figure: the norm of the gradient of one random direction of the last h with respect
to the state k steps before it, over that at k = 1: as the cell is made, after `gradients.critical`
with that lag (of an RNN without one), and after `gradients.with_unit_growth`, which begins from the
critical gates. Inputs are white, of variance 1. Medians over seeds.
"""

import argparse
import functools
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from jaxtyping import Array
from matplotlib.figure import Figure
from tqdm import tqdm

import seqmem
from seqmem import gradients

from ..common.curves import group_rows
from ..common.options import positive_int
from ..common.plots import BLUE, GREEN, HEIGHT, RED, STYLE, WIDTH
from ..common.records import Row, as_json, markdown_table, provenance, write_csv

PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "numpy")
FEATURES = 200  # of an input: with few of them, its length changes from step to step
TRANSIENT, STEPS = 40, 100  # steps before and while lengths and growth are measured
CELLS: dict[str, Callable[..., Any]] = {
    "RNN": seqmem.RNN,
    "LSTM": seqmem.LSTM,
    "GRU": seqmem.GRU,
}
CASES = [(name, gain) for name in CELLS for gain in (1.0, 2.0, 3.0)]
SETTINGS = ("default", "critical", "unit growth")


def gaussian_cell(name: str, units: int, gain: float, seed: int) -> Any:
    """A cell with recurrent weights N(0, gain²/units)."""
    keys = jax.random.split(jax.random.key(seed))
    cell = CELLS[name](FEATURES, units, key=keys[0])
    gaussian = jax.nn.initializers.variance_scaling(gain**2, "fan_in", "normal")
    return seqmem.with_recurrent_weights(cell, gaussian, key=keys[1])


def with_permuted_rows(cell: Any, key: Array) -> Any:
    """The cell with the rows of W and U of each gate in another order."""

    def permute(matrices: Array, key: Array) -> Array:
        gates = matrices.reshape(-1, *matrices.shape[-2:])
        orders = jax.vmap(lambda k: jax.random.permutation(k, gates.shape[1]))(
            jax.random.split(key, len(gates))
        )
        return jax.vmap(lambda gate, order: gate[order])(gates, orders).reshape(matrices.shape)

    permuted = jax.tree.map(permute, (cell.W, cell.U), tuple(jax.random.split(key)))
    return eqx.tree_at(lambda tree: (tree.W, tree.U), cell, permuted)


@functools.partial(jax.jit, static_argnames=("is_new", "steps"))
def length_and_growth(cell: Any, key: Array, *, is_new: bool, steps: int) -> tuple[Array, Array]:
    """E[h²] and the factor per step of a perturbation's squared norm, driven by white inputs.

    Args:
        cell: the cell.
        key: random key.
        is_new: whether every step has new weights.
        steps: that are measured, after the transient.
    """
    state = jax.tree.map(lambda leaf: 0.3 * jax.random.normal(key, leaf.shape), cell.init_state())

    def step(carry: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], tuple[Array, Array]]:
        state, direction = carry
        keys = jax.random.split(key)
        x = jax.random.normal(keys[0], (FEATURES,))
        one = with_permuted_rows(cell, keys[1]) if is_new else cell
        drive = one.project(x)
        state, moved = jax.jvp(lambda s: one.update(s, drive), (state,), (direction,))
        norm = jnp.sqrt(sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(moved)))
        h = jax.tree.leaves(state)[0]
        direction = jax.tree.map(lambda leaf: leaf / norm, moved)
        return (state, direction), (jnp.square(h).mean(), jnp.log(norm))

    start = (state, gradients.random_direction(key, state))
    _, (lengths, growth) = jax.lax.scan(step, start, jax.random.split(key, TRANSIENT + steps))
    return lengths[TRANSIENT:].mean(), jnp.exp(2 * growth[TRANSIENT:].mean())


def measure_case(name: str, gain: float, size: int, steps: int) -> Row:
    """Theory and measurement of one random network."""
    cell = gaussian_cell(name, size, gain, seed=0)
    theory = gradients.mean_field(cell, input_power=1.0)
    row: Row = {"cell": name, "gain": gain} | theory._asdict()
    for label, is_new in (("new", True), ("same", False)):
        q, chi = length_and_growth(cell, jax.random.key(1), is_new=is_new, steps=steps)
        row |= {f"q_{label}": float(q), f"chi_{label}": float(chi)}
    return row


@jax.jit
def gradient_by_lag(cell: Any, xs: Array, direction: Array) -> Array:
    """‖∂(direction · h_T)/∂s_{T−k}‖ for k = 0, 1, ..., of each sequence, [lag, batch]."""

    def loss(cell: Any, perturbations: Any) -> Array:
        return (seqmem.unroll(cell, None, xs, perturbations=perturbations)[1][-1] * direction).sum()

    _, _, flow = gradients.value_grad_and_flow(loss)(cell)
    return gradients.by_lag(flow.norm())


def measure_gradients(name: str, options: argparse.Namespace, seed: int) -> list[Row]:
    """The gradient's norm at every lag over that at lag 1, for each setting of one cell."""
    keys = jax.random.split(jax.random.key(seed), 4)
    cell = CELLS[name](FEATURES, options.units, key=keys[0])
    xs = jax.random.normal(keys[1], (2 * options.lag, 4, FEATURES))
    direction = jax.random.normal(keys[2], (4, options.units))
    lag = None if name == "RNN" else options.lag
    critical = gradients.critical(cell, lag=lag, input_power=1.0)
    settings = {
        "default": cell,
        "critical": critical,
        "unit growth": gradients.with_unit_growth(critical, None, xs[:, :1], key=keys[3]),
    }
    rows: list[Row] = []
    for setting, initial in settings.items():
        norms = np.asarray(gradient_by_lag(initial, xs, direction))[1 : options.lag + 1]
        ratios = np.median(norms / norms[0], axis=1)
        rows += [
            {"cell": name, "setting": setting, "seed": seed, "lag": k + 1, "ratio": float(ratio)}
            for k, ratio in enumerate(ratios)
        ]
    return rows


def median_curves(rows: Sequence[Row]) -> dict[tuple[str, str], np.ndarray]:
    """The median over seeds of each cell's ratios at every lag."""
    return {
        case: np.array(
            [
                np.median([row["ratio"] for row in of_lag])
                for of_lag in group_rows(curve, "lag").values()
            ]
        )
        for case, curve in group_rows(rows, "cell", "setting").items()
    }


def report(cases: Sequence[Row], rows: Sequence[Row], lag: int) -> str:
    """Both tables."""
    lines = [
        [
            f"{row['cell']}, σ = {row['gain']:g}",
            *(f"{row[name]:.4f}" for name in ("q", "q_new", "q_same")),
            *(f"{row[name]:.4f}" for name in ("chi", "chi_new")),
            f"{max(row['chi'] ** 0.5, row['radius']):.4f}",
            f"{row['chi_same'] ** 0.5:.4f}",
        ]
        for row in cases
    ]
    head = ["cell", "E[h²]", "new weights", "same weights", "χ", "new weights"]
    tables = markdown_table([*head, "max(√χ, radius)", "growth, same weights"], lines)
    curves = median_curves(rows)
    names = [name for (name,) in group_rows(rows, "cell")]
    lines = [
        [name, *(f"{curves[name, setting][-1]:.3g}" for setting in SETTINGS)] for name in names
    ]
    return f"{tables}\n\nGradient at lag {lag} over that at lag 1:\n\n" + markdown_table(
        ["cell", *SETTINGS], lines
    )


def draw(path: pathlib.Path, rows: Sequence[Row]) -> None:
    """The gradient's norm against the lag, a panel for each cell."""
    with matplotlib.rc_context(STYLE):
        curves = median_curves(rows)
        names = [name for (name,) in group_rows(rows, "cell")]
        figure = Figure(figsize=(2 * WIDTH, HEIGHT), dpi=300, layout="constrained")
        panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, names, strict=True):
            for setting, color in zip(SETTINGS, (RED, BLUE, GREEN), strict=True):
                curve = curves[name, setting]
                axes.semilogy(np.arange(1, len(curve) + 1), curve, color=color, label=setting)
            axes.axhspan(1 / 3, 3, color="0.9", lw=0)
            axes.set(title=name, xlabel="lag (steps)", ylim=(1e-4, 1e2))
        panels[0].set_ylabel("gradient over that at lag 1")
        panels[0].legend(frameon=False)
        figure.savefig(path)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--size", type=positive_int, default=1000, help="units of the networks of the first table")
    add("--steps", type=positive_int, default=STEPS, help="steps that are measured there")
    add("--units", type=positive_int, default=512, help="units of the cells of the second table")
    add("--lag", type=positive_int, default=200, help="the longest lag")
    add("--seeds", type=positive_int, default=3, help="cells of each kind in the second table")
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


def main() -> None:
    options = parse_options()
    with jax.default_matmul_precision("highest"):  # a GPU rounds to ten bits by default
        cases = [
            measure_case(name, gain, options.size, options.steps)
            for name, gain in tqdm(CASES, unit="network")
        ]
        runs = [(name, seed) for name in CELLS for seed in range(options.seeds)]
        rows = [
            row
            for name, seed in tqdm(runs, unit="cell")
            for row in measure_gradients(name, options, seed)
        ]
    record = provenance("benchmarks.studies.criticality", PACKAGES)
    record |= {name: getattr(options, name) for name in ("size", "steps", "units", "lag", "seeds")}
    longest = [row for row in rows if row["lag"] == options.lag]  # all lags are in the csv
    record |= {"features": FEATURES, "transient": TRANSIENT, "cases": cases, "rows": longest}
    text = f"{record['machine']}, {record['date']}: `{record['command']}`\n\n"
    text += f"{report(cases, rows, options.lag)}\n"
    print(text)
    folder = pathlib.Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"criticality.{kind}" for kind in ("csv", "json", "md", "png")]
    write_csv(paths[0], rows)
    paths[1].write_text(as_json(record, indent=None))
    paths[2].write_text(text)
    draw(paths[3], rows)
    for path in paths:
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
