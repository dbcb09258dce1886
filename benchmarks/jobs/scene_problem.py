"""The images of `describe_image`, the scenes made of them, and the settings for them."""

import pathlib
from typing import NamedTuple

import numpy as np

from seqmem import data, tasks

DEBIAN_FOLDER = pathlib.Path("/usr/share/datasets/fashion-mnist")  # of dataset-fashion-mnist
CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class Problem(NamedTuple):
    """Images, scenes of them, and settings.

    Attributes:
        name: of the images.
        train: images of the training scenes.
        test: images of the test scenes.
        scenes: the task.
        layers: (size, stride, channels) of each convolution.
        is_mirrored: whether half of the training images are mirrored.
        steps: training steps of naming single images, and of describing scenes.
    """

    name: str
    train: data.Images
    test: data.Images
    scenes: tasks.Scenes
    layers: tuple[tuple[int, int, int], ...]
    is_mirrored: bool
    steps: tuple[int, int]

    @property
    def single_images(self) -> tasks.Scenes:
        return tasks.Scenes(self.scenes.names, grid_size=1, slot_size=self.scenes.slot_size)


def load_problem(images: str | None) -> Problem:
    """Fashion-MNIST from this folder, or from where Debian's package puts it; else digits."""
    if images == "digits" or (images is None and not DEBIAN_FOLDER.is_dir()):
        return _digits()
    return _clothes(pathlib.Path(images or DEBIAN_FOLDER))


def _clothes(folder: pathlib.Path) -> Problem:
    names = (*map(_singular_and_plural, CLOTHES), ("an ankle boot", "ankle boots"))
    return Problem(
        "Fashion-MNIST",
        *(_sorted_images(*data.fashion_mnist(split, folder)) for split in ("train", "test")),
        tasks.Scenes(names, grid_size=2, slot_size=32),
        layers=((5, 2, 24), (3, 2, 48), (3, 2, 96)),
        is_mirrored=True,
        steps=(18000, 7000),
    )


def _digits() -> Problem:
    """scikit-learn's 1,797 digits, of which every fifth is a test image."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    is_test = np.arange(len(digits.target)) % 5 == 0
    return Problem(
        "scikit-learn's digits",
        *(_sorted_images(digits.images[part], digits.target[part]) for part in (~is_test, is_test)),
        tasks.Scenes(tuple(map(_singular_and_plural, DIGITS)), grid_size=2, slot_size=12),
        layers=((3, 1, 32), (2, 2, 64), (3, 1, 64)),
        is_mirrored=False,
        steps=(2000, 5000),
    )


def _singular_and_plural(name: str) -> tuple[str, str]:
    article, ending = "an" if name == "eight" else "a", "es" if name[-1] in "sx" else "s"
    return f"{article} {name}", name + ending


def _sorted_images(images: np.ndarray, labels: np.ndarray) -> data.Images:
    """The images sorted by label, scaled to a largest value of 1."""
    order = np.argsort(labels, kind="stable")
    images = (images[order] / images.max()).astype(np.float32)
    return data.Images(images, labels[order].astype(np.int32))
