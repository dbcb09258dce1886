"""The text that small character models are compared on."""

import os

from ._folders import fetcher, file_in, folder_of
from .text import read_text

COMMIT = "6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e"
ADDRESS = f"https://raw.githubusercontent.com/karpathy/char-rnn/{COMMIT}/data/tinyshakespeare/"
SUMS = {"input.txt": "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"}


def tiny_shakespeare(path: str | os.PathLike | None = None) -> str:
    """1,115,394 characters of Shakespeare's plays, 65 of them different.

    The last tenth is the usual test.

    Source: github.com/karpathy/char-rnn at 6f9487a; the text is in the public domain.

    Args:
        path: the folder of the file `input.txt`. Else `tinyshakespeare` in SEQMEM_DATA; else it is
            fetched, 1 MB.

    Raises:
        ValueError: where there is no such file.
    """
    folder = folder_of("tinyshakespeare", path, fetcher(ADDRESS, SUMS))
    return read_text(file_in(folder, *SUMS))
