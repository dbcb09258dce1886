"""Small images with a class each: MNIST and Fashion-MNIST."""

import os
import pathlib
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import UInt8

from .._core.errors import bad_input
from ._folders import check_name, fetcher, file_in, folder_of
from .idx import read_idx

FILES = {"train": "train", "test": "t10k"}
COMMIT = "b2617bb6d3ffa2e429640350f613e3291e10b141"
ADDRESS = f"https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/{COMMIT}/data/fashion/"
SUMS = {
    "train-images": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
AXES = {"images": 3, "labels": 1}


class Images(NamedTuple):
    """Grey images, 0 to 255, and the class of each."""

    images: UInt8[np.ndarray, "example height width"]
    labels: UInt8[np.ndarray, " example"]


def fashion_mnist(split: Literal["train", "test"], path: str | os.PathLike | None = None) -> Images:
    """Fashion-MNIST: 60,000 images of clothes for training, 10,000 for the test, 28×28, 10 classes.

    Source: Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747; the authors' repository
    zalandoresearch/fashion-mnist. Debian's package dataset-fashion-mnist holds the same images.

    Args:
        split: which of them.
        path: the folder of the four IDX files. Else `fashion_mnist` in SEQMEM_DATA; else they are
            fetched, 30 MB.

    Raises:
        ValueError: where a file is missing or broken.
    """
    sums = {_name(which) + ".gz": sha256 for which, sha256 in SUMS.items()}
    return _images("fashion_mnist", split, path, fetcher(ADDRESS, sums))


def mnist(split: Literal["train", "test"], path: str | os.PathLike | None = None) -> Images:
    """MNIST: 60,000 written digits for training, 10,000 for the test, 28×28.

    Source: LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document
    recognition".

    Args:
        split: which of them.
        path: the folder of the four IDX files; else `mnist` in SEQMEM_DATA. They are not fetched.

    Raises:
        ValueError: where a file is missing or broken.
    """
    return _images("mnist", split, path, None)


def _name(which: str) -> str:
    return f"{which}-idx{AXES[which.split('-')[1]]}-ubyte"


def _images(
    name: str,
    split: str,
    path: str | os.PathLike | None,
    fetch: Callable[[pathlib.Path], None] | None,
) -> Images:
    check_name("split", split, FILES)
    folder = folder_of(name, path, fetch)
    names = [_name(f"{FILES[split]}-{kind}") for kind in AXES]
    paths = [file_in(folder, name, f"{name}.gz") for name in names]
    images, labels = map(read_idx, paths)
    if (images.ndim, labels.ndim) != (3, 1) or len(images) != len(labels):
        raise bad_input(
            f"{paths[0]} holds {images.shape}, {paths[1]} holds {labels.shape}.",
            "images (example, height, width), and a label for each.",
            "give the files of one data set.",
        )
    return Images(images, labels)
