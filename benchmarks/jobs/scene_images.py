"""The images that scenes are made of."""

import pathlib
from typing import NamedTuple

import numpy as np

from seqmem import data, tasks

PACKAGED = pathlib.Path("/usr/share/datasets/fashion-mnist")  # by Debian's dataset-fashion-mnist
CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class Problem(NamedTuple):
    """Images to make scenes of, and what is chosen for them."""

    name: str
    train: data.Images
    test: data.Images
    scenes: tasks.Scenes
    layers: tuple[tuple[int, int, int], ...]  # (size, stride, channels) of each convolution
    mirrored: bool  # whether half of what is trained on is
    steps: tuple[int, int]  # of naming single images, and of telling what is in scenes

    @property
    def single(self) -> tasks.Scenes:
        return tasks.Scenes(self.scenes.names, 1, self.scenes.cell)


def problem(images: str | None) -> Problem:
    """Clothes, from this folder or where Debian puts them; else digits."""
    if images == "digits" or (images is None and not PACKAGED.is_dir()):
        return _digits()
    return _clothes(pathlib.Path(images or PACKAGED))


def _clothes(folder: pathlib.Path) -> Problem:
    return Problem(
        "Fashion-MNIST",
        *(_scaled(*data.fashion_mnist(split, folder)) for split in ("train", "test")),
        tasks.Scenes((*map(_name, CLOTHES), ("an ankle boot", "ankle boots")), side=2, cell=32),
        layers=((5, 2, 24), (3, 2, 48), (3, 2, 96)),
        mirrored=True,
        steps=(18000, 7000),
    )


def _digits() -> Problem:
    """Of scikit-learn's 1,797, every fifth is for the test."""
    from sklearn.datasets import load_digits

    found = load_digits()
    tested = np.arange(len(found.target)) % 5 == 0
    return Problem(
        "scikit-learn's digits",
        *(_scaled(found.images[part], found.target[part]) for part in (~tested, tested)),
        tasks.Scenes(tuple(map(_name, DIGITS)), side=2, cell=12),
        layers=((3, 1, 32), (2, 2, 64), (3, 1, 64)),
        mirrored=False,
        steps=(2000, 5000),
    )


def _name(name: str) -> tuple[str, str]:
    article, ending = "an" if name == "eight" else "a", "es" if name[-1] in "sx" else "s"
    return f"{article} {name}", name + ending


def _scaled(images: np.ndarray, labels: np.ndarray) -> data.Images:
    """In the order of their labels, with a largest value of 1."""
    order = np.argsort(labels, kind="stable")
    images = (images[order] / images.max()).astype(np.float32)
    return data.Images(images, labels[order].astype(np.int32))
