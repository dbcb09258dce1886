"""The figure of `speech_to_word`: the accuracy of each cell, one clip over time, and confusions."""

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
from .speech_features import HOP, Features
from .speech_model import WordModel, logits_of

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CLIP_WORD = 7  # the word of the clip over time
SIZE = (7.0, 2.4)  # inches, two columns wide


def draw(
    path: pathlib.Path, rows: Sequence[Row], model: WordModel, test: Features, cell: str
) -> None:
    """Draw three panels; the last two are of `cell`."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=SIZE, dpi=200, layout="constrained")
        accuracy, over_time, confusion = figure.subplots(1, 3, width_ratios=(1, 1.5, 1))
        _draw_accuracies(accuracy, rows)
        clip = next(clip for clip, word in zip(*test, strict=True) if word == CLIP_WORD)
        _draw_over_time(over_time, model, clip)
        over_time.set_title(f'{cell} hears "{WORDS[CLIP_WORD]}"', fontsize=8)
        _draw_confusion(confusion, model, test)
        confusion.set_title(f"{cell}, test", fontsize=8)
        figure.savefig(path)


def _draw_accuracies(axes: Axes, rows: Sequence[Row]) -> None:
    """The test accuracy of each seed, and the mean."""
    groups = group_rows(rows, "cell")
    for x, seeds in enumerate(groups.values()):
        values = [100 * row["test"] for row in seeds]
        axes.plot([x] * len(values), values, "o", ms=3, mfc="none", color=BLUE)
        axes.plot(x, np.mean(values), "_", ms=12, color=BLUE)
    axes.set_xticks(range(len(groups)), [cell for (cell,) in groups], rotation=60)
    axes.set_ylabel("test accuracy (%)")


def _draw_over_time(axes: Axes, model: WordModel, clip: np.ndarray) -> None:
    """P(word) after each frame, as if the clip ended there, over the features of the clip."""
    prefixes = [clip[: t + 1] for t in range(len(clip))]
    probabilities = jax.nn.softmax(logits_of(model, prefixes), -1)
    times = HOP * np.arange(1, len(clip) + 1)
    axes.imshow(
        clip.T,
        origin="lower",
        aspect="auto",
        cmap="Greys",
        alpha=0.5,
        extent=(times[0], times[-1], 0, 1),
    )
    for word in np.argsort(-np.asarray(probabilities).max(0))[:4]:
        axes.plot(times, probabilities[:, word], color=COLOURS[word % 9], label=WORDS[word])
    axes.set(xlabel="time (s)", ylabel="$P$(word)", ylim=(0, 1))
    axes.legend(loc="center left", frameon=False)


def _draw_confusion(axes: Axes, model: WordModel, test: Features) -> None:
    """The confusion matrix, with its counts."""
    words = len(model.b)
    counts = np.zeros((words, words), int)
    np.add.at(counts, (test.words, logits_of(model, test.clips).argmax(-1)), 1)
    axes.imshow(np.sqrt(counts), cmap="Blues")
    for word, predicted in zip(*np.nonzero(counts), strict=True):
        count = counts[word, predicted]
        colour = "white" if count > counts.max() / 2 else "black"
        axes.text(predicted, word, count, ha="center", va="center", c=colour, fontsize=5)
    axes.set_xticks(range(words))
    axes.set_yticks(range(words))
    axes.set(xlabel="predicted", ylabel="spoken")
