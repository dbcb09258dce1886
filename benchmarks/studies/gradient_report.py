"""The tables and figures of `gradient_norms`."""

import pathlib
from collections.abc import Mapping, Sequence

from ..common.curves import group_rows, median_table, nonfinite_notes
from ..common.plots import draw_curves
from ..common.records import Row, markdown_table

MEASURES = ("lag", "length", "ahead")
Checks = Mapping[str, Mapping[str, Row]]  # by cell and weights: half-lives, the loss and its check


def report(rows: Sequence[Row], checks: Checks) -> str:
    """A table for each measure, the losses and checks, and the values that are not finite."""
    lag, length, ahead = rows_by_measure(rows)
    lines = [
        [cell, weights, f"{check['loss']:.3f}", f"{check['difference_error']:.0e}"]
        for cell, by_weights in checks.items()
        for weights, check in by_weights.items()
    ]
    halves = [
        [cell, weights, *(f"{steps:.3g}" for steps in (check["halved_at"], *check["half_life"]))]
        for cell, by_weights in checks.items()
        for weights, check in by_weights.items()
    ]
    parts = [
        "Gradient of the last character's loss with respect to the state, by lag:",
        median_table(lag, table_points(lag), reach=0.01),
        "In characters: the median first lag with at most half of its norm at lag 0, and quartiles "
        "of its half-life, which is negative where it grows:",
        markdown_table(["cell", "weights", "halved at", "25 %", "half-life", "75 %"], halves, 2),
        "Gradient of the mean loss with respect to all parameters, by length:",
        median_table(length, all_points(length)),
        "Change of the prediction, per change of the cell's weights, by characters ahead:",
        median_table(ahead, table_points(ahead)),
        "Loss on held-out text (nats per character), and the relative error of a finite "
        "difference:",
        markdown_table(["cell", "weights", "loss", "error"], lines, 2),
        "\n".join(nonfinite_notes(rows)) or "Every value is finite.",
    ]
    return "\n\n".join(parts)


def rows_by_measure(rows: Sequence[Row]) -> list[list[Row]]:
    groups = group_rows(rows, "measure")
    return [groups[(measure,)] for measure in MEASURES]


def all_points(rows: Sequence[Row]) -> list[int]:
    return sorted({row["x"] for row in rows})


def powers_of_ten(largest: int) -> list[int]:
    return [10**k for k in range(9) if 10**k <= largest]


def table_points(rows: Sequence[Row]) -> list[int]:
    """The points of a curve that a table has: the first, the powers of ten and the last."""
    first, *_, last = all_points(rows)
    return sorted({first, *powers_of_ten(last), last})


def draw_all(stem: pathlib.Path, rows: Sequence[Row]) -> list[pathlib.Path]:
    """Draw a figure for each measure, of the norm over the whole state; names begin with `stem`."""
    lag, length, ahead = rows_by_measure([row for row in rows if row["of"] != "h"])
    paths = [stem.with_name(f"{stem.name}_{measure}.png") for measure in MEASURES]
    last = all_points(lag)[-1]
    draw_curves(
        paths[0],
        lag,
        x=f"lag $k$ (characters); $T = {last + 1}$",
        y=r"gradient $\Vert \partial L_T / \partial s_{T-k} \Vert$ (nats)",
        ticks=powers_of_ten(last),
        y_range=(1e-8, 1e8),
    )
    draw_curves(
        paths[1],
        length,
        x="length $T$ (characters)",
        y=r"gradient $\Vert \partial \bar{L}_T / \partial \theta \Vert$ (nats)",
        ticks=all_points(length),
        y_range=(1e-4, 1e4),
    )
    draw_curves(
        paths[2],
        ahead,
        x="characters ahead $k$",
        y=r"change of prediction $\Vert \partial p_k / \partial \varepsilon \Vert$",
    )
    return paths
