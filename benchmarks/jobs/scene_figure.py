"""The figure of `describe_image`: scenes, their descriptions, and the attention for each word."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ..common.plots import GREEN, RED, STYLE

IMAGE_SIZE = 0.62  # inches
MARGIN, TEXT_HEIGHT = 0.04, 0.34  # inches, above all rows and above each row


class DescribedImage(NamedTuple):
    """An image, its right description, and the words of the model with their attention weights."""

    image: np.ndarray
    expected: str
    words: Sequence[str]
    weights: np.ndarray  # [word, row, column]


def draw(path: pathlib.Path, scenes: Sequence[DescribedImage], window: int) -> None:
    """Draw a row for each scene: the image, then for each word where the model attends to.

    Args:
        path: of the PNG.
        scenes: from top to bottom.
        window: pixels of a side of the window that a position sees.
    """
    columns = 1 + max(len(scene.words) for scene in scenes)
    width, height = IMAGE_SIZE * columns, MARGIN + (IMAGE_SIZE + TEXT_HEIGHT) * len(scenes)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), dpi=200)
        for row, scene in enumerate(scenes):
            bottom = 1 - (MARGIN + (IMAGE_SIZE + TEXT_HEIGHT) * (row + 1)) / height
            is_right = " ".join(scene.words).replace(" ,", ",") == scene.expected
            figure.text(
                0.02 * IMAGE_SIZE / width,
                bottom + (IMAGE_SIZE + 0.12) / height,
                f"{'✓' if is_right else '✗'} {scene.expected}",
                color=GREEN if is_right else RED,
                va="bottom",
            )
            brightness = [np.ones_like(scene.image)]
            brightness += [
                _pixel_weights(weights, scene.image.shape, window) for weights in scene.weights
            ]
            side = 0.94 * IMAGE_SIZE
            for column, factor in enumerate(brightness):
                left = column * IMAGE_SIZE / width
                axes = figure.add_axes((left, bottom, side / width, side / height))
                axes.imshow(0.12 + 0.88 * scene.image * factor, cmap="gray", vmin=0, vmax=1)
                axes.set(xticks=[], yticks=[])
                if column:
                    axes.set_title(scene.words[column - 1], fontsize=6, pad=1.5)
        figure.savefig(path)


def _pixel_weights(weights: np.ndarray, shape: tuple[int, ...], window: int) -> np.ndarray:
    """The weight of each pixel, summed over the positions that see it; the largest is 1."""
    pixels = np.zeros(shape)
    for row, column in np.ndindex(*weights.shape):
        top, left = (
            index * (size - window) // max(count - 1, 1)
            for index, size, count in zip((row, column), shape, weights.shape, strict=True)
        )
        pixels[top : top + window, left : left + window] += weights[row, column]
    return pixels / pixels.max()
