"""What `speech_to_word` shows: how well each cell understands, and one clip as it is heard."""

import pathlib
from collections.abc import Sequence

import jax
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..common.curves import group_rows
from ..common.plots import BLUE, COLOURS, STYLE
from ..common.records import Row
from .words import HOP, Frames, WordModel, answers

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SHOWN = 7  # the word of the clip
SIZE = (7.0, 2.4)  # inches, two columns wide


def draw(
    path: pathlib.Path, rows: Sequence[Row], model: WordModel, test: Frames, cell: str
) -> None:
    """Three pictures side by side, the last two of `cell`."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=SIZE, dpi=200, layout="constrained")
        cells, heard, confused = figure.subplots(1, 3, width_ratios=(1, 1.5, 1))
        _cells(cells, rows)
        clip = next(clip for clip, word in zip(*test, strict=True) if word == SHOWN)
        _heard(heard, model, clip)
        heard.set_title(f'{cell} hears "{WORDS[SHOWN]}"', fontsize=8)
        _confused(confused, model, test)
        confused.set_title(f"{cell}, test", fontsize=8)
        figure.savefig(path)


def _cells(axes: Axes, rows: Sequence[Row]) -> None:
    """The test accuracy of each seed, and the mean."""
    groups = group_rows(rows, "cell")
    for place, own in enumerate(groups.values()):
        values = [100 * row["test"] for row in own]
        axes.plot([place] * len(values), values, "o", ms=3, mfc="none", color=BLUE)
        axes.plot(place, np.mean(values), "_", ms=12, color=BLUE)
    axes.set_xticks(range(len(groups)), [cell for (cell,) in groups], rotation=60)
    axes.set_ylabel("test clips understood (%)")


def _heard(axes: Axes, model: WordModel, clip: np.ndarray) -> None:
    """P(word) after each frame, as if the clip ended there; dark behind it: the energy heard."""
    beginnings = [clip[: t + 1] for t in range(len(clip))]
    guesses = jax.nn.softmax(answers(model, beginnings), -1)
    times = HOP * np.arange(1, len(clip) + 1)
    axes.imshow(
        clip.T,
        origin="lower",
        aspect="auto",
        cmap="Greys",
        alpha=0.5,
        extent=(times[0], times[-1], 0, 1),
    )
    for word in np.argsort(-np.asarray(guesses).max(0))[:4]:
        axes.plot(times, guesses[:, word], color=COLOURS[word % 9], label=WORDS[word])
    axes.set(xlabel="heard so far (s)", ylabel="$P$(word)", ylim=(0, 1))
    axes.legend(loc="center left", frameon=False)


def _confused(axes: Axes, model: WordModel, test: Frames) -> None:
    """How many clips of each word are taken for which."""
    words = len(model.b)
    counts = np.zeros((words, words), int)
    np.add.at(counts, (test.words, answers(model, test.clips).argmax(-1)), 1)
    axes.imshow(np.sqrt(counts), cmap="Blues")
    for said, taken in zip(*np.nonzero(counts), strict=True):
        dark = counts[said, taken] > counts.max() / 2
        colour = "white" if dark else "black"
        axes.text(taken, said, counts[said, taken], ha="center", va="center", c=colour, fontsize=5)
    axes.set_xticks(range(words))
    axes.set_yticks(range(words))
    axes.set(xlabel="taken for", ylabel="said")
