"""Tiny Shakespeare, the usual text for small character models."""

import os

from ._folders import data_folder, fetcher, find_file
from ._text import read_text

COMMIT = "6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e"
URL = f"https://raw.githubusercontent.com/karpathy/char-rnn/{COMMIT}/data/tinyshakespeare/"
SHA256 = {"input.txt": "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"}


def tiny_shakespeare(path: str | os.PathLike | None = None) -> str:
    """Tiny Shakespeare: 1,115,394 characters of Shakespeare's plays, 65 of them different.

    The last tenth is the usual test set.

    Source: github.com/karpathy/char-rnn at 6f9487a; the text is in the public domain.

    Args:
        path: the folder of the file `input.txt`; None is the folder `tinyshakespeare` in
            SEQMEM_DATA, else a download of 1 MB.

    Raises:
        ValueError: where the folder has no such file.
    """
    folder = data_folder("tinyshakespeare", path, fetcher(URL, SHA256))
    return read_text(find_file(folder, *SHA256))
