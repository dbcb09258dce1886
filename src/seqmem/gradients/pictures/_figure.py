"""The style of all figures: axes, lines, legends, and markers for values that cannot be plotted."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from ._matplotlib import Axes, Figure, Line2D

# Palette of Okabe & Ito, for readers with colour vision deficiency. Further lines are dashed.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", ":", "-.")
SIZE = (4.2, 2.8)  # inches
MAX_DOTS = 200  # lines with fewer points get dots, so that single points between gaps are visible
NOT_FINITE_COLOUR = "#D55E00"
GUIDE_STYLE: Any = {"color": "0.6", "lw": 0.8, "zorder": 0}


class Marker(NamedTuple):
    """A marker at the edge of the axes, in place of values that a line cannot show.

    Attributes:
        label: its meaning, in the legend.
        applies_to: (values) -> which of them it stands for.
    """

    label: str
    applies_to: Callable[[np.ndarray], np.ndarray]


def new_figure(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    """A figure and its only axes."""
    figure = Figure(figsize=SIZE, dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def plot_lines(
    axes: Axes,
    curves: Mapping[str, np.ndarray],
    positions: Callable[[np.ndarray], np.ndarray],
    markers: Mapping[str, Marker],
    *,
    first_only: bool = False,
) -> None:
    """Plot a line per name, with markers where its values cannot be plotted, and a legend.

    Args:
        axes: the axes.
        curves: the values by name.
        positions: (values) -> their x coordinates.
        markers: by matplotlib's marker style.
        first_only: whether a marker stands at the first of its values only.
    """
    labels = {}
    for (name, values), style in zip(curves.items(), line_styles(curves), strict=True):
        x, y = positions(values), values.copy()
        for marker, (label, applies_to) in markers.items():
            indices = np.flatnonzero(applies_to(values))
            y[indices] = np.nan
            if indices.size:
                mark_edge(axes, x[indices[:1] if first_only else indices], marker, style["color"])
                labels[marker] = label
        dots = {"marker": ".", "ms": 3} if len(x) < MAX_DOTS else {}
        axes.plot(x, y, label=name, **style, **dots)
    add_legend(axes, labels)


def mark_edge(axes: Axes, x: np.ndarray, marker: str, color: str) -> None:
    """Markers at the edge of the axes: downward triangles at the lower, others at the upper."""
    edge = np.full(len(x), 0 if marker == "v" else 1)
    transform = axes.get_xaxis_transform()
    axes.plot(x, edge, marker, ms=5, color=color, transform=transform, clip_on=False)


def add_legend(axes: Axes, marker_labels: Mapping[str, str]) -> None:
    """A legend above the axes: the labelled lines, then the markers."""
    handles, _ = axes.get_legend_handles_labels()
    handles += [
        Line2D([], [], color="0.3", ls="", ms=5, marker=marker, label=label)
        for marker, label in marker_labels.items()
    ]
    axes.figure.legend(
        handles=handles,
        loc="outside upper center",
        frameon=False,
        fontsize="small",
        ncols=min(3, len(handles)),
        handlelength=1.5,
        columnspacing=1.2,
    )


def line_styles(names: Collection[str]) -> list[dict[str, Any]]:
    """A colour and a dash pattern for each name, all different."""
    num_colours = len(COLOURS)
    return [
        {"color": COLOURS[i % num_colours], "ls": DASHES[i // num_colours % len(DASHES)]}
        for i in range(len(names))
    ]
