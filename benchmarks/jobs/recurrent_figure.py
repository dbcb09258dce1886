"""The figure of `recurrent_policy`: the return of each memory while it is trained."""

import pathlib
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ..common.curves import group_rows
from ..common.plots import COLOURS, HEIGHT, STYLE, WIDTH
from ..common.records import Row


def draw(
    path: pathlib.Path, curves: Mapping[tuple[str, ...], Sequence[Row]], chance: float
) -> None:
    """Draw the mean over the seeds of each memory, over a band from the worst to the best.

    Args:
        path: of the PNG.
        curves: rows with "seed", "steps" and "return", by memory.
        chance: the best expected return without a memory, a dotted line.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, HEIGHT), dpi=300, layout="constrained")
        axes = figure.subplots()
        for ((memory,), rows), colour in zip(curves.items(), COLOURS, strict=False):
            seeds = group_rows(rows, "seed").values()
            returns = np.array([[row["return"] for row in seed] for seed in seeds])
            steps = [row["steps"] for row in next(iter(seeds))]
            axes.plot(steps, returns.mean(0), color=colour, label=memory)
            axes.fill_between(steps, returns.min(0), returns.max(0), color=colour, alpha=0.15, lw=0)
        axes.axhline(chance, color="0.5", ls=":")
        axes.set(xlabel="steps of all environments", ylabel="return", ylim=(chance - 0.2, 1.05))
        axes.ticklabel_format(axis="x", scilimits=(6, 6), useMathText=True)
        axes.legend(frameon=False, loc="center right", bbox_to_anchor=(1.0, 0.67))
        figure.savefig(path)
