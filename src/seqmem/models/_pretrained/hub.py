"""What other packages do for published models: files from a hub, and tokenizers."""

import importlib
import os
from pathlib import Path
from typing import Any

from ..._core.errors import bad_input
from .folder import file_inside

PATTERNS = ("*.safetensors", "*.json", "tokenizer.model", "*.txt", "*.md")


def download(repo: str, folder: str | os.PathLike[str] | None = None) -> Path:
    """Download a published model with `huggingface_hub`, without its pickles and programs.

    Nothing else in `seqmem.models` opens a connection.

    Args:
        repo: "owner/name" on the hub.
        folder: where the files shall stand; None is the cache of `huggingface_hub`.

    Returns:
        The folder, for `from_pretrained` and `load_tokenizer`.

    Raises:
        ModuleNotFoundError: without the package; it is in `pip install 'seqmem[hub]'`.
        ValueError: for a repo that is no "owner/name".
    """
    if not isinstance(repo, str) or repo.count("/") != 1 or not all(repo.split("/")):
        raise bad_input(
            f"download got repo={repo!r}.",
            'the name of a repository on the hub, "owner/name".',
            "call from_pretrained for a folder on this machine.",
        )
    hub = _required("huggingface_hub")
    options = {} if folder is None else {"local_dir": folder}
    return Path(hub.snapshot_download(repo, allow_patterns=[*PATTERNS], **options))


def load_tokenizer(folder: str | os.PathLike[str]) -> Any:
    """The tokenizer of a published model, `tokenizer.json`, as the package `tokenizers` reads it:
    `tokenizer.encode(text).ids` are tokens, `tokenizer.decode(tokens)` is text.

    Args:
        folder: of the model.

    Raises:
        ModuleNotFoundError: without the package; it is in `pip install 'seqmem[hub]'`.
        ValueError: for a folder without the file, for a link out of the folder, and for a file that
            holds no tokenizer.
    """
    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise bad_input(
            f"{folder} has no tokenizer.json.",
            "the folder of a model that was saved with its tokenizer.",
            "save it there: AutoTokenizer.from_pretrained(…).save_pretrained(folder).",
        )
    path = file_inside(Path(folder), path.name)
    tokenizers = _required("tokenizers")
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the package raises no narrower one; a panic of Rust is one
        raise bad_input(
            f"{path} holds no tokenizer: {error}.",
            "a file that the package tokenizers wrote.",
            "copy the file again from where it comes.",
        ) from error


def _required(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{package} is not installed.\n  Expected: the packages of the extra `hub`."
            "\n  What to do: pip install 'seqmem[hub]'."
        ) from error
