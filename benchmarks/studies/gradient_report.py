"""What a person reads of `gradient_norms`: tables, complaints and figures."""

import pathlib
from collections.abc import Mapping, Sequence

from ..common.curves import Row, complaints, grouped, table
from ..common.measure import markdown_table
from ..common.plots import draw

MEASURES = ("lag", "length", "ahead")
Facts = Mapping[str, Mapping[str, Row]]  # by cell and weights: the loss, the error of the check


def report(rows: Sequence[Row], facts: Facts) -> str:
    """A table for each measure, the losses and checks, and what is not finite."""
    lag, length, ahead = by_measure(rows)
    checks = [
        [cell, weights, f"{fact['loss']:.3f}", f"{fact['difference_error']:.0e}"]
        for cell, own in facts.items()
        for weights, fact in own.items()
    ]
    parts = [
        "Gradient of the last character's loss with respect to the state, by lag:",
        table(lag, few(lag), reach=0.01),
        "Gradient of the mean loss with respect to all parameters, by length:",
        table(length, points(length)),
        "Change of the prediction, per change of the cell's weights, by characters ahead:",
        table(ahead, few(ahead)),
        "Loss on held-out text (nats per character), and how far a finite difference is off:",
        markdown_table(["cell", "weights", "loss", "error"], checks, 2),
        "\n".join(complaints(rows)) or "Every value is finite.",
    ]
    return "\n\n".join(parts)


def by_measure(rows: Sequence[Row]) -> list[list[Row]]:
    groups = grouped(rows, "measure")
    return [groups[(measure,)] for measure in MEASURES]


def points(rows: Sequence[Row]) -> list[int]:
    return sorted({row["x"] for row in rows})


def powers(largest: int) -> list[int]:
    return [10**k for k in range(9) if 10**k <= largest]


def few(rows: Sequence[Row]) -> list[int]:
    """The first point, the powers of ten and the last point: enough of a curve for a table."""
    first, *_, last = points(rows)
    return sorted({first, *powers(last), last})


def draw_all(folder: pathlib.Path, rows: Sequence[Row]) -> list[pathlib.Path]:
    """A figure for each measure, of the whole state."""
    lag, length, ahead = by_measure([row for row in rows if row["of"] != "h"])
    paths = [folder / f"gradient_norms_{measure}.png" for measure in MEASURES]
    last = points(lag)[-1]
    draw(
        paths[0],
        lag,
        x=f"lag $k$ (characters); $T = {last + 1}$",
        y=r"gradient $\Vert \partial L_T / \partial s_{T-k} \Vert$ (nats)",
        ticks=powers(last),
        between=(1e-8, 1e8),
    )
    draw(
        paths[1],
        length,
        x="length $T$ (characters)",
        y=r"gradient $\Vert \partial \bar{L}_T / \partial \theta \Vert$ (nats)",
        ticks=points(length),
        between=(1e-4, 1e4),
    )
    draw(
        paths[2],
        ahead,
        x="characters ahead $k$",
        y=r"change of prediction $\Vert \partial p_k / \partial \varepsilon \Vert$",
    )
    return paths
