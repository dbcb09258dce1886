"""Folders, and the error of a disk that is full or cannot be written."""

import os
import pathlib


def disk_error(problem: str, error: Exception, folder: str | os.PathLike, remedy: str) -> OSError:
    """The error to raise where something could not be written or deleted.

    Args:
        problem: what could not be done.
        error: the reason.
        folder: where.
        remedy: what to do when there is space again.
    """
    return OSError(
        f"{problem}: {error}\n"
        f"  Expected: free space, and permission to write, in {pathlib.Path(folder).absolute()}.\n"
        f"  What to do: free some space, {remedy}."
    )


def make_folder(folder: pathlib.Path) -> None:
    """Make a folder, and those that hold it, unless it exists.

    Raises:
        OSError: where it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"the folder {folder} could not be made"
        raise disk_error(problem, error, folder, "and start again") from error
