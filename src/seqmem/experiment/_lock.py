"""A lock of a folder: one process at a time writes there."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

from .._core.errors import bad_input

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_HELD: set["FolderLock"] = set()


class FolderLock:
    """A lock of a folder, which ends with the process that holds it, however that ends.

    It is a lock of the system on the file `.lock`. Where the system has none, or the file cannot be
    made, nothing is locked.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._file, self._depth = None, 0

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock; a process that holds it already may do so again.

        Raises:
            ValueError: where another process holds it.
        """
        if not self._acquire():
            raise bad_input(
                f"{self._folder}, where another run is writing.",
                "one run at a time in a folder of checkpoints.",
                "choose another folder, or wait until the other run has ended, or end it.",
            )
        try:
            yield
        finally:
            self._release()

    @contextlib.contextmanager
    def try_to_hold(self) -> Iterator[bool]:
        """Hold the lock unless another process does. Whether it is held."""
        is_held = self._acquire()
        try:
            yield is_held
        finally:
            if is_held:
                self._release()

    def _acquire(self) -> bool:
        """Whether no other process holds the lock."""
        if self._depth == 0 and fcntl is not None:
            try:
                self._file = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _HELD.add(self)
            except BlockingIOError:
                self._close()
                return False
            except OSError:  # a folder that is read only, a full disk, a system without locks
                self._close()
        self._depth += 1
        return True

    def _release(self) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = None
        _HELD.discard(self)


def _close_in_child() -> None:
    """A fork, such as a worker that loads data, does not hold the lock when its parent has died."""
    for lock in list(_HELD):
        lock._close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
