"""Multi30k: descriptions of 31,000 photographs in English, and their German translations."""

import os
from typing import Literal, NamedTuple

from .._core.errors import bad_input
from ._folders import check_name, data_folder, fetcher, find_file
from ._text import read_text

COMMIT = "a3d2e0d26b56f3846f66a952536ffed4e401d05a"
URL = f"https://raw.githubusercontent.com/multi30k/dataset/{COMMIT}/data/task1/tok/"
SUFFIX = ".lc.norm.tok."
SHA256 = {
    "train.lc.norm.tok.de": "cb5a23529b65ec2061f1dc446192a9c37382b63cc75f81a0be59d34894b3a505",
    "train.lc.norm.tok.en": "08925f8e0572bcd5a006702fc5fe20e2d77c6917d4eebd576fc20de6693c2119",
    "val.lc.norm.tok.de": "97232bd273eceb7207f689527386a97e4be2616b18ada47576bdaf96c8ae1f00",
    "val.lc.norm.tok.en": "46573ce391ae227f1c72f873392436a20ef18e0a6d518098cfbd70b77c8572ec",
    "test_2016_flickr.lc.norm.tok.de": (
        "c6a33d39d48f9f510de147651316cd9d918e09ad0219df734a2f16b6baccacc4"
    ),
    "test_2016_flickr.lc.norm.tok.en": (
        "5b7f32627cf99eced828311b955dae9800bb52bc8b91cf8b6526829e605b29d2"
    ),
    "test_2017_flickr.lc.norm.tok.de": (
        "02067e4a9402786a4fcb8c1b6f4307e4a5073ced64800abead5273b54f5f31f6"
    ),
    "test_2017_flickr.lc.norm.tok.en": (
        "c9d1dfd7a26add989382e534af235af9f0f658b2a30e7eb0efdaf142496ee54f"
    ),
}
SPLITS = tuple(dict.fromkeys(name.split(SUFFIX)[0] for name in SHA256))


class Translations(NamedTuple):
    """English sentences and their German translations, as words."""

    en: tuple[tuple[str, ...], ...]
    de: tuple[tuple[str, ...], ...]


def multi30k(
    split: Literal["train", "val", "test_2016_flickr", "test_2017_flickr"],
    path: str | os.PathLike | None = None,
) -> Translations:
    """Multi30k, task 1: 29,000 sentences for training, 1,014 for validation, twice 1,000 for tests.

    The publisher has made them lower case, and cut them into words and punctuation.

    Source: Elliott, Frank, Sima'an & Specia 2016, arXiv:1605.00459; github.com/multi30k/dataset at
    a3d2e0d. For research.

    Args:
        split: the name of the split.
        path: the folder of the files `{split}.lc.norm.tok.{language}`; None is the folder
            `multi30k` in SEQMEM_DATA, else a download of 4 MB.

    Raises:
        ValueError: where a file is missing or not UTF-8, the two files differ in their number of
            lines, or a line is empty: a sentence without words has no translation to compare with.
    """
    check_name("split", split, SPLITS)
    folder = data_folder("multi30k", path, fetcher(URL, SHA256))
    files = [find_file(folder, split + SUFFIX + language) for language in Translations._fields]
    languages = []
    for file in files:
        # str.splitlines would also cut at Unicode line separators.
        lines = read_text(file).removesuffix("\n").split("\n")
        languages.append(tuple(tuple(line.split()) for line in lines))
        if () in languages[-1]:
            raise bad_input(
                f"line {languages[-1].index(()) + 1} of {file} is empty.",
                "a sentence in every line.",
                "download the file again, or remove the line from both languages.",
            )
    english, german = languages
    if len(english) != len(german):
        raise bad_input(
            f"{files[0]} has {len(english)} lines, {files[1]} has {len(german)}.",
            "one line per sentence, in the same order.",
            "download both files again.",
        )
    return Translations(english, german)
