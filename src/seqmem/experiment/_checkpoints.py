"""Checkpoints of a run: written atomically, verified when they are read."""

import contextlib
import os
import pathlib
import re
import shutil
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jaxtyping import PyTree

from .._core.errors import bad_input
from .._core.validation import check_count
from ._arrays import array_like, named_arrays, replace_arrays
from ._disk import disk_error, make_folder
from ._lock import FolderLock
from ._manifest import check_checksums, check_manifest, manifest_of
from ._orbax import OrbaxFiles

Tree = TypeVar("Tree", bound=PyTree)
NAME = re.compile(r"[0-9]{10}|[1-9][0-9]{10,}")


class Checkpoints:
    """Checkpoints in a folder, each in a folder named by its position, written by Orbax.

    A checkpoint holds the arrays of a tree (random keys included), metadata, and checksums of both.
    It is written under a temporary name and renamed when it is complete, so a program that is
    killed while it writes leaves the previous checkpoint as the last one. The last checkpoints are
    kept, and those with the smallest values; others are deleted.

    Weak types are not saved: an array that came from a Python number is restored with its dtype and
    without the weak type. `train` removes weak types.

    With several processes, all of them call `save` and `restore`, with a folder that all see. A
    checkpoint can be restored on other devices than it was saved on.

    Args:
        folder: folder of the checkpoints; made if missing. One run at a time writes there: another
            one is refused, on systems that lock files.
        every: steps between two checkpoints of `train`, > 0.
        keep_last: how many of the last checkpoints are kept, > 0.
        keep_best: how many checkpoints with the smallest values are kept, >= 0.

    Raises:
        ImportError: without Orbax: `pip install 'seqmem[train]'`.
        ValueError: where a count is out of range.
        OSError: where the folder cannot be made.

    Example:
        >>> import jax, jax.numpy as jnp, tempfile
        >>> from seqmem.experiment import Checkpoints
        >>> try:
        ...     checkpoints = Checkpoints(tempfile.mkdtemp(), keep_last=1, keep_best=1)
        ...     for position, loss in [(100, 0.5), (200, 0.3), (300, 0.4), (400, 0.6)]:
        ...         tree = {"w": jnp.full(3, loss), "key": jax.random.key(position)}
        ...         checkpoints.save(position, tree, {"loss": loss}, value=loss)
        ...     positions, (_, metadata) = checkpoints.positions(), checkpoints.restore(tree)
        ... except ImportError:  # Orbax is optional
        ...     positions, metadata = [200, 400], {"loss": 0.6}
        >>> positions, metadata
        ([200, 400], {'loss': 0.6})
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        every: int = 1000,
        keep_last: int = 2,
        keep_best: int = 1,
    ):
        check_count("Checkpoints", "every", every)
        check_count(
            "Checkpoints",
            "keep_last",
            keep_last,
            remedy="keep at least the last checkpoint: a run resumes from it.",
        )
        check_count("Checkpoints", "keep_best", keep_best, at_least=0)
        self.folder, self.every = pathlib.Path(folder).absolute(), every
        self.keep_last, self.keep_best = keep_last, keep_best
        self._files = OrbaxFiles()
        make_folder(self.folder)
        self._lock = FolderLock(self.folder)
        with self._lock.try_to_hold() as is_held:
            if is_held:  # otherwise they are what another run is writing
                self._delete_incomplete()
        self._values = {position: self._read_value(position) for position in self.positions()}

    def positions(self) -> list[int]:
        """The positions of the checkpoints in the folder, ascending."""
        names = (path.name for path in self.folder.iterdir())
        return sorted(int(name) for name in names if NAME.fullmatch(name))

    def best_position(self) -> int | None:
        """The position with the smallest value, the last one of equal values."""
        return next(iter(self._ranking()), None)

    def save(
        self,
        position: int,
        tree: PyTree,
        metadata: Mapping[str, Any] | None = None,
        *,
        value: float | None = None,
    ) -> None:
        """Write a checkpoint, and delete those that are no longer kept.

        Args:
            position: its name, >= 0: the number of steps before it.
            tree: the arrays to save. Functions and the like are omitted.
            metadata: anything that JSON can represent.
            value: a loss, for `keep_best`. None and NaN are never among the best.

        Raises:
            ValueError: where the position is negative or has a checkpoint, or where a number in the
                tree is no JAX array, or where another run writes in the folder.
            OSError: where writing failed; the folder is then as it was. Where an old checkpoint
                could not be deleted; the new one is complete.
        """
        path, arrays = self._path(position), named_arrays(tree)
        if position < 0 or path.exists():
            raise bad_input(
                f"position={position} for a checkpoint in {self.folder}.",
                f"a new position >= 0; there are checkpoints at {self.positions()}.",
                "restore the last checkpoint and continue from it, or choose another folder.",
            )
        if value is not None and not np.isfinite(value):
            value = None
        header = {"arrays": manifest_of(arrays), "metadata": dict(metadata or {}), "value": value}
        with self.hold():
            try:
                self._files.write(path, header, arrays)
            except Exception as error:  # Orbax and the system raise many types
                self._delete_incomplete()
                raise self._error(
                    f"the checkpoint at position {position} could not be written", error
                ) from error
            self._values[position] = value
            self._delete_old()

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the folder, so that no other process writes there; `train` does so for a whole run.
        The hold ends with the process, however that ends.

        Raises:
            ValueError: where another run writes there.
        """
        with self._lock.hold() if jax.process_index() == 0 else contextlib.nullcontext():
            yield

    def restore(self, like: Tree, position: int | None = None) -> tuple[Tree, dict[str, Any]]:
        """The tree and the metadata of a checkpoint, each array on the devices of `like`'s.

        Args:
            like: a tree with the saved shapes and dtypes; its values are not read.
            position: position of the checkpoint; None is the last.

        Raises:
            ValueError: where there is no such checkpoint, or where it is of another model or
                damaged; the message names the arrays.
        """
        positions = self.positions()
        position = positions[-1] if position is None and positions else position
        if position not in positions:
            raise bad_input(
                f"position={position}, of {len(positions)} checkpoints in {self.folder}.",
                f"one of {positions}." if positions else "a checkpoint to restore.",
                "choose a position from positions(), or start a new run.",
            )
        path, arrays = self._path(position), named_arrays(like)
        source, header = f"the checkpoint {path}", self._files.read_header(path)
        manifest = header["arrays"]
        check_manifest(manifest, arrays, source)
        values = self._files.read_arrays(path, {name: arrays[name] for name in manifest})
        check_checksums(manifest, values, source)
        restored = {name: array_like(values[name], array) for name, array in arrays.items()}
        return replace_arrays(like, restored), header["metadata"]

    def _read_value(self, position: int) -> float | None:
        """The value of a checkpoint; None for a damaged one, which `restore` refuses."""
        try:
            return self._files.read_header(self._path(position))["value"]
        except ValueError:
            return None

    def _path(self, position: int) -> pathlib.Path:
        return self.folder / f"{position:010d}"

    def _error(self, problem: str, error: Exception) -> OSError:
        positions = self.positions()
        last = f"the checkpoint at {positions[-1]} is complete" if positions else "none yet"
        return disk_error(problem, error, self.folder, f"and start again; {last}")

    def _ranking(self) -> list[int]:
        """The positions with a value, best first."""
        values = {position: value for position, value in self._values.items() if value is not None}
        return sorted(values, key=lambda position: (values[position], -position))

    def _delete_old(self) -> None:
        last, best = sorted(self._values)[-self.keep_last :], self._ranking()[: self.keep_best]
        for position in self._values.keys() - {*last, *best}:
            del self._values[position]
            if jax.process_index() == 0:
                # Renamed first: a deletion that is interrupted leaves no folder like a checkpoint.
                path = self._path(position)
                try:
                    shutil.rmtree(path.rename(path.with_name(f"{path.name}.deleted")))
                except OSError as error:
                    raise self._error(f"the old {path} could not be deleted", error) from error

    def _delete_incomplete(self) -> None:
        """Delete the remains of a program that was killed."""
        if jax.process_index() == 0:
            for path in self.folder.iterdir():
                number, _, rest = path.name.partition(".")
                if number.isdigit() and rest.startswith(("deleted", "orbax-checkpoint-tmp")):
                    shutil.rmtree(path, ignore_errors=True)
