"""Image classification: MNIST and Fashion-MNIST."""

import os
import pathlib
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import UInt8

from .._core.errors import bad_input
from ._folders import check_name, data_folder, fetcher, find_file
from ._idx import read_idx

FILES = {"train": "train", "test": "t10k"}
COMMIT = "b2617bb6d3ffa2e429640350f613e3291e10b141"
URL = f"https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/{COMMIT}/data/fashion/"
SHA256 = {
    "train-images": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
AXES = {"images": 3, "labels": 1}


class Images(NamedTuple):
    """Gray images, 0 to 255, and their classes."""

    images: UInt8[np.ndarray, "example height width"]
    labels: UInt8[np.ndarray, " example"]


def fashion_mnist(split: Literal["train", "test"], path: str | os.PathLike | None = None) -> Images:
    """Fashion-MNIST: 60,000 images of clothes for training, 10,000 for tests, 28×28, 10 classes.

    Source: Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747; the authors' repository
    zalandoresearch/fashion-mnist. Debian's package dataset-fashion-mnist holds the same images.

    Args:
        split: the name of the split.
        path: the folder of the four IDX files; None is the folder `fashion_mnist` in SEQMEM_DATA,
            else a download of 30 MB.

    Raises:
        ValueError: where a file is missing or broken.
    """
    sha256 = {_file_name(part) + ".gz": checksum for part, checksum in SHA256.items()}
    return _images("fashion_mnist", split, path, fetcher(URL, sha256))


def mnist(split: Literal["train", "test"], path: str | os.PathLike | None = None) -> Images:
    """MNIST: 60,000 handwritten digits for training, 10,000 for tests, 28×28.

    Source: LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document
    recognition".

    Args:
        split: the name of the split.
        path: the folder of the four IDX files; None is the folder `mnist` in SEQMEM_DATA. There is
            no download.

    Raises:
        ValueError: where a file is missing or broken.
    """
    return _images("mnist", split, path, None)


def _file_name(part: str) -> str:
    return f"{part}-idx{AXES[part.split('-')[1]]}-ubyte"


def _images(
    name: str,
    split: str,
    path: str | os.PathLike | None,
    fetch: Callable[[pathlib.Path], None] | None,
) -> Images:
    check_name("split", split, FILES)
    folder = data_folder(name, path, fetch)
    names = [_file_name(f"{FILES[split]}-{kind}") for kind in AXES]
    paths = [find_file(folder, name, f"{name}.gz") for name in names]
    images, labels = map(read_idx, paths)
    if (images.ndim, labels.ndim) != (3, 1) or len(images) != len(labels):
        raise bad_input(
            f"{paths[0]} has shape {images.shape}, {paths[1]} has shape {labels.shape}.",
            "images (example, height, width), and a label for each.",
            "use the files of one data set.",
        )
    return Images(images, labels)
