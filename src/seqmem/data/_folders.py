"""The folder of a data set: a path, a folder in SEQMEM_DATA, or a download into the cache.

A download is complete or absent: it is written to a temporary folder, checked, and then renamed.
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
MAX_SIZE = 2**27  # bytes of one download; the largest data set here has 30 MB


def https_opener() -> urllib.request.OpenerDirector:
    """Opens URLs of https alone, also after a redirect, and also through a proxy."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPSHandler,  # which checks the certificate
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    return opener


OPENER = https_opener()


def data_folder(
    name: str, path: str | os.PathLike | None, fetch: Callable[[pathlib.Path], None] | None
) -> pathlib.Path:
    """The folder of a data set: `path`, else `name` in SEQMEM_DATA, else `name` in the cache.

    The cache is the folder "seqmem" in XDG_CACHE_HOME, or in ~/.cache.

    Args:
        name: the data set.
        path: its folder.
        fetch: downloads the files of the data set into an empty folder, and checks them. None for a
            data set that cannot be downloaded.

    Raises:
        ValueError: where there is no such folder.
    """
    if path is not None:
        folder = pathlib.Path(path)
        if not folder.is_dir():
            raise bad_input(
                f"{folder} is not a folder.", f"the folder of {name}.", "check the path."
            )
        return folder
    root = os.environ.get("SEQMEM_DATA")
    if root and (pathlib.Path(root) / name).is_dir():
        return pathlib.Path(root) / name
    if fetch is None:
        raise bad_input(
            f"no path to {name}, and no folder {name} in SEQMEM_DATA.",
            "the folder of its files, which seqmem does not download.",
            f"pass path=, or put the files into a folder {name} in that of SEQMEM_DATA.",
        )
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "seqmem"
    folder = cache / name
    if not folder.is_dir():
        _fill(folder, fetch)
    return folder


def _fill(folder: pathlib.Path, fetch: Callable[[pathlib.Path], None]) -> None:
    """Download into a temporary folder, then rename it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{folder.name}-"
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=prefix) as temporary:
        download_folder = pathlib.Path(temporary) / folder.name
        download_folder.mkdir()
        fetch(download_folder)
        try:
            download_folder.rename(folder)
        except OSError:  # another process was faster
            if not folder.is_dir():
                raise


def fetcher(base_url: str, sha256: Mapping[str, str]) -> Callable[[pathlib.Path], None]:
    """A function that downloads files from one URL into a folder, and checks them.

    Args:
        base_url: the URL, up to the names.
        sha256: the checksum of each file, by name.
    """

    def fetch(folder: pathlib.Path) -> None:
        for name, checksum in sha256.items():
            download(base_url + name, folder / name, checksum)

    return fetch


def find_file(folder: pathlib.Path, *names: str) -> pathlib.Path:
    """The first of these files that the folder has.

    Raises:
        ValueError: where it has none of them.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise bad_input(
        f"{folder} has no {' and no '.join(names)}.",
        "the files of the data set under the names of their publisher.",
        "complete the folder, or leave path and SEQMEM_DATA out to download them.",
    )


def check_name(argument: str, name: str, names: Iterable[str]) -> None:
    """Refuse an unknown name of a part of a data set.

    Raises:
        ValueError: unless `name` is one of `names`.
    """
    if name not in (names := list(names)):
        raise bad_input(f"{argument} {name!r}.", f"one of {', '.join(names)}.", "pass one of them.")


def download(url: str, path: pathlib.Path, sha256: str | None) -> None:
    """Download a file over https, and check it.

    Args:
        url: its URL.
        path: where to write it.
        sha256: the checksum of its content; None where the caller checks the content.

    Raises:
        ConnectionError: where the download fails, or is longer than any data set.
        ValueError: for another checksum.
    """
    digest = hashlib.sha256()
    try:
        with OPENER.open(url, timeout=TIMEOUT) as response, path.open("wb") as file:
            while content := response.read(1 << 20):
                if file.tell() + len(content) > MAX_SIZE:
                    raise OSError(f"more than {MAX_SIZE} bytes came")
                file.write(content)
                digest.update(content)
    except (OSError, http.client.HTTPException) as error:
        message = bad_input(
            f"{url} could not be downloaded: {error}.",
            "an answer from the publisher of the data.",
            "try again, or get the files in another way and pass their folder as path=.",
        )
        raise ConnectionError(str(message)) from error
    if sha256 is not None:
        check_sha256(url, digest.hexdigest(), sha256)


def check_sha256(name: str, sha256: str, expected: str) -> None:
    """Refuse another checksum than the expected one.

    Raises:
        ValueError: for another checksum.
    """
    if sha256 != expected:
        raise bad_input(
            f"{name} has the SHA-256 {sha256}.",
            f"{expected}.",
            "try again; if it persists, the publisher has changed the data.",
        )


def folder_sha256(folder: pathlib.Path) -> str:
    """A checksum of names and contents: the output of `LC_ALL=C sha256sum * | sha256sum`."""
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        checksum = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{checksum}  {path.name}\n".encode())
    return total.hexdigest()
