"""Where a data set's files are: at a path, in SEQMEM_DATA, or fetched from their publisher.

A folder in the cache is whole: it is filled under another name, checked, and then renamed.
"""

import hashlib
import http.client
import os
import pathlib
import tempfile
import urllib.request
from collections.abc import Callable, Iterable, Mapping

from .._core.errors import bad_input

TIMEOUT = 60  # seconds without a byte


def folder_of(
    name: str, path: str | os.PathLike | None, fetch: Callable[[pathlib.Path], None] | None
) -> pathlib.Path:
    """The folder of a data set: `path`, else `name` in SEQMEM_DATA, else `name` in the cache.

    The cache is the folder "seqmem" in XDG_CACHE_HOME, or in ~/.cache.

    Args:
        name: of the data set.
        path: of its folder.
        fetch: fills an empty folder with the data set's files, and checks them. None for a data set
            that is published nowhere we could check.

    Raises:
        ValueError: where there is no such folder.
    """
    if path is not None:
        return _existing(pathlib.Path(path), f"the folder that holds {name}")
    given = os.environ.get("SEQMEM_DATA")
    if given and (pathlib.Path(given) / name).is_dir():
        return pathlib.Path(given) / name
    if fetch is None:
        raise bad_input(
            f"no path to {name}, and SEQMEM_DATA holds no folder {name}.",
            "the folder of its files, which are not fetched.",
            f"pass path=, or put them into a folder {name} in that of SEQMEM_DATA.",
        )
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "seqmem"
    folder = cache / name
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=f".{name}-") as fresh:
            whole = pathlib.Path(fresh) / name
            whole.mkdir()
            fetch(whole)
            try:
                whole.rename(folder)
            except OSError:  # another process was faster
                if not folder.is_dir():
                    raise
    return folder


def fetcher(address: str, sums: Mapping[str, str]) -> Callable[[pathlib.Path], None]:
    """What fetches these files, behind one address, and checks them: name to SHA-256."""

    def fetch(folder: pathlib.Path) -> None:
        for name, sha256 in sums.items():
            download(address + name, folder / name, sha256)

    return fetch


def file_in(folder: pathlib.Path, *names: str) -> pathlib.Path:
    """The first of these files that the folder holds.

    Raises:
        ValueError: where it holds none.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise bad_input(
        f"{folder} holds no {' and no '.join(names)}.",
        "the files of the data set under the names they are published by.",
        "complete the folder, or leave path and SEQMEM_DATA out to fetch them.",
    )


def check_name(what: str, given: str, names: Iterable[str]) -> None:
    """Raise a `ValueError` where a part of a data set is called by a name it does not have."""
    if given not in (names := list(names)):
        raise bad_input(f"{what} {given!r}.", f"one of {', '.join(names)}.", "name one of these.")


def download(address: str, path: pathlib.Path, sha256: str | None) -> None:
    """Write what is at an address to a file, and check it.

    Args:
        address: its URL.
        path: of the file.
        sha256: of the content; None where what is unpacked from it is checked.

    Raises:
        ConnectionError: where it cannot be had.
        ValueError: where it has another checksum.
    """
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT) as source, path.open("wb") as file:
            while block := source.read(1 << 20):
                file.write(block)
                digest.update(block)
    except (OSError, http.client.HTTPException) as error:
        complaint = bad_input(
            f"{address} could not be fetched: {error}.",
            "an answer from the publisher of the data.",
            "try again, or get the files in another way and pass their folder as path=.",
        )
        raise ConnectionError(str(complaint)) from error
    if sha256 is not None:
        check_sum(address, digest.hexdigest(), sha256)


def check_sum(what: str, found: str, expected: str) -> None:
    """Raise a `ValueError` where a checksum is another."""
    if found != expected:
        raise bad_input(
            f"{what} has the SHA-256 {found}.",
            f"{expected}.",
            "try again; if it stays so, it is not the data that this was written for.",
        )


def sum_of(folder: pathlib.Path) -> str:
    """A checksum over names and contents: what `LC_ALL=C sha256sum * | sha256sum` prints."""
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        one = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{one}  {path.name}\n".encode())
    return total.hexdigest()


def _existing(folder: pathlib.Path, what: str) -> pathlib.Path:
    if not folder.is_dir():
        raise bad_input(f"{folder} is no folder.", f"{what}.", "check the path.")
    return folder
