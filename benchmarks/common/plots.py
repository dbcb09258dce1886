"""Figures one column wide (8.5 cm), readable in print and by colour-blind readers."""

import math
import pathlib
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator, ScalarFormatter

from .curves import group_rows
from .records import Row

# Okabe & Ito's palette. Its yellow is too light for a line; two darker colours replace it.
BLUE, RED, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
COLOURS = (BLUE, RED, GREEN, PINK, "#E69F00", "#56B4E9", "#000000", "#882255", "#999999")
COLOURS += ("#44AA99", "#DDCC77")
DASHES = {"initial": "-", "trained": (0, (3.5, 1.2))}
WEIGHTS_LABELS = {"initial": "at initialisation", "trained": "after training"}
STYLE: Any = {
    "font.size": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
}
WIDTH, HEIGHT = 3.35, 2.2  # inches, without the legend
LEFT, RIGHT, BOTTOM, TOP, LEGEND_ROW = 0.58, 0.1, 0.4, 0.06, 0.145


def draw_curves(
    path: pathlib.Path,
    rows: Sequence[Row],
    *,
    x: str,
    y: str,
    ticks: Sequence[int] = (),
    y_range: tuple[float, float] = (0.0, math.inf),
) -> None:
    """A line of medians for each cell and weights, over a band between the quartiles; y is
    logarithmic.

    Args:
        path: of the PNG.
        rows: from `curves.curve_rows`, one curve per cell and weights.
        x: the label of the x-axis.
        y: the label of the y-axis.
        ticks: values on the x-axis, which they make logarithmic; x = 0 is then left out.
        y_range: the least and the largest y of the figure.
    """
    with matplotlib.rc_context(STYLE):
        cells = [cell for (cell,) in group_rows(rows, "cell")]
        colours = dict(zip(cells, COLOURS, strict=False))
        columns = 4 if len(cells) < 6 else 3
        legend_rows = math.ceil(len(cells) / columns) + 1
        height = HEIGHT + LEGEND_ROW * legend_rows
        figure = Figure(figsize=(WIDTH, height), dpi=300)
        axes = figure.add_axes(
            (
                LEFT / WIDTH,
                BOTTOM / height,
                1 - (LEFT + RIGHT) / WIDTH,
                (HEIGHT - BOTTOM - TOP) / height,
            )
        )
        axes.set_yscale("log", nonpositive="mask")
        axes.set(xlabel=x, ylabel=y)
        if ticks:
            axes.set_xscale("log")
            axes.set_xticks(ticks)
            axes.xaxis.set_major_formatter(ScalarFormatter())
            axes.xaxis.set_minor_locator(NullLocator())
            rows = [row for row in rows if row["x"] > 0]
        axes.margins(x=0.02)
        curves = group_rows(rows, "cell", "weights")
        for (cell, weights), curve in curves.items():
            _draw_line(axes, curve, colours[cell], DASHES[weights])
        medians = [y for y in (row["median"] for row in rows) if 0 < y < math.inf] or [1.0]
        axes.set_ylim(max(min(medians) / 2, y_range[0]), min(max(medians) * 2, y_range[1]))
        has_cross = [_draw_cross(axes, curve, colours[cell]) for (cell, _), curve in curves.items()]
        styles = [
            Line2D([], [], color="0.3", linestyle=DASHES[weights], label=WEIGHTS_LABELS[weights])
            for (weights,) in group_rows(rows, "weights")
        ]
        if any(has_cross):
            styles.append(Line2D([], [], color="0.3", marker="x", ls="", label="not finite"))
        names = [Line2D([], [], color=colour, label=cell) for cell, colour in colours.items()]
        _draw_legend(figure, names, columns, top=1.0)
        _draw_legend(figure, styles, len(styles), top=1 - LEGEND_ROW * (legend_rows - 1) / height)
        figure.savefig(path)


def _draw_line(axes: Axes, rows: Sequence[Row], colour: str, dashes) -> None:
    x, median, low, high = (
        np.array([row[name] for row in rows]) for name in ("x", "median", "low", "high")
    )
    axes.plot(x, np.where((median > 0) & (median < np.inf), median, np.nan), c=colour, ls=dashes)
    low, high = (np.clip(edge, 1e-99, 1e99) for edge in (low, high))  # from 0 to infinity
    axes.fill_between(x, low, high, where=low < high, color=colour, alpha=0.15, lw=0)


def _draw_cross(axes: Axes, rows: Sequence[Row], colour: str) -> bool:
    """Draw a cross at the upper edge, above the first point with values that are not finite, and
    return whether there is such a point.
    """
    first = next((row["x"] for row in rows if row["not_finite"]), None)
    if first is not None:
        transform = axes.get_xaxis_transform()
        axes.plot(first, 1, "x", ms=5, color=colour, transform=transform, clip_on=False)
    return first is not None


def _draw_legend(figure: Figure, handles: Sequence[Line2D], columns: int, *, top: float) -> None:
    figure.legend(
        handles=handles,
        ncols=columns,
        loc="upper center",
        bbox_to_anchor=(0.5, top),
        frameon=False,
        borderpad=0.3,
        borderaxespad=0,
        columnspacing=1.4,
        handlelength=2.0,
        handletextpad=0.5,
    )
