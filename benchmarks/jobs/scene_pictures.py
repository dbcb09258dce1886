"""Scenes, what a model says of them, and where it looks for each word."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ..common.plots import GREEN, RED, STYLE

INCH = 0.62  # of one picture
HEAD, TEXT = 0.04, 0.34  # above all, and above each row


class Told(NamedTuple):
    """A picture, its description, and the model's: words, and the weight of each place for each."""

    picture: np.ndarray
    right: str
    words: Sequence[str]
    weights: np.ndarray  # [word, row, column]


def draw(path: pathlib.Path, scenes: Sequence[Told], window: int) -> None:
    """A row for each scene: the picture, then for each word what it was told by.

    Args:
        path: of the PNG.
        scenes: from the top down.
        window: pixels of a side of what a place sees.
    """
    columns = 1 + max(len(scene.words) for scene in scenes)
    width, height = INCH * columns, HEAD + (INCH + TEXT) * len(scenes)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), dpi=200)
        for row, scene in enumerate(scenes):
            bottom = 1 - (HEAD + (INCH + TEXT) * (row + 1)) / height
            said = " ".join(scene.words).replace(" ,", ",")
            fine = said == scene.right
            figure.text(
                0.02 * INCH / width,
                bottom + (INCH + 0.12) / height,
                f"{'✓' if fine else '✗'} {scene.right}",
                color=GREEN if fine else RED,
                va="bottom",
            )
            shades = [np.ones_like(scene.picture)]
            shades += [_shade(weights, scene.picture.shape, window) for weights in scene.weights]
            for column, shade in enumerate(shades):
                where = (column * INCH / width, bottom, 0.94 * INCH / width, 0.94 * INCH / height)
                axes = figure.add_axes(where)
                axes.imshow(0.12 + 0.88 * scene.picture * shade, cmap="gray", vmin=0, vmax=1)
                axes.set(xticks=[], yticks=[])
                if column:
                    axes.set_title(scene.words[column - 1], fontsize=6, pad=1.5)
        figure.savefig(path)


def _shade(weights: np.ndarray, shape: tuple[int, ...], window: int) -> np.ndarray:
    """How bright each pixel is: by the places that see it, where the brightest is 1."""
    shade = np.zeros(shape)
    for row, column in np.ndindex(*weights.shape):
        top, left = (
            place * (size - window) // max(count - 1, 1)
            for place, size, count in zip((row, column), shape, weights.shape, strict=True)
        )
        shade[top : top + window, left : left + window] += weights[row, column]
    return shade / shade.max()
