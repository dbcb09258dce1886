"""Checkpoints of a run: written whole or not at all, checked when they are read."""

import json
import os
import pathlib
import shutil
import zlib
from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jaxtyping import Array, PyTree

from .._core.errors import bad_input
from ._leaves import (
    arrays_of,
    damaged,
    describe,
    numbers,
    place_like,
    put_back,
    refuse_damaged,
    refuse_other,
)

Tree = TypeVar("Tree", bound=PyTree)


class Checkpoints:
    """Checkpoints in a folder, one folder each, named by their positions; written by Orbax.

    A checkpoint holds the arrays of any tree (keys of `jax.random.key` too), a note of plain
    numbers and words, and a checksum of everything. It is written under another name and renamed
    when it is whole, so a program killed while it writes leaves the one before it as the last. The
    last ones are kept, and those of the smallest values.

    Weak types are not kept: an array that came of a Python number alone comes back as one of its
    dtype. `train` has none.

    Over several processes each one calls `save` and `restore`, with one folder that all see. What
    was saved on some devices is restored on any.

    Args:
        folder: where they are; made if need be. One run at a time writes there.
        last: how many of the last are kept, > 0.
        best: how many of those with the smallest values are kept beside them, >= 0.

    Raises:
        ImportError: without Orbax: `pip install 'seqmem[train]'`.
        ValueError: where `last` or `best` is out of range.

    Example:
        >>> import jax, jax.numpy as jnp, tempfile
        >>> from seqmem.experiment import Checkpoints
        >>> try:
        ...     checkpoints = Checkpoints(tempfile.mkdtemp(), last=1, best=1)
        ...     for position, loss in [(100, 0.5), (200, 0.3), (300, 0.4), (400, 0.6)]:
        ...         tree = {"w": jnp.full(3, loss), "key": jax.random.key(position)}
        ...         checkpoints.save(position, tree, {"loss": loss}, value=loss)
        ...     kept, (_, note) = checkpoints.positions(), checkpoints.restore(tree)
        ... except ImportError:  # an extra
        ...     kept, note = [200, 400], {"loss": 0.6}
        >>> kept, note
        ([200, 400], {'loss': 0.6})
    """

    def __init__(self, folder: str | os.PathLike, *, last: int = 2, best: int = 1):
        if last < 1 or best < 0:
            raise bad_input(
                f"last={last}, best={best}.",
                "last >= 1 and best >= 0.",
                "keep at least the last checkpoint: a run goes on from it.",
            )
        self.folder, self.last, self.best = pathlib.Path(folder).absolute(), last, best
        self._orbax = _orbax()
        self._writer = self._orbax.Checkpointer(self._orbax.CompositeCheckpointHandler())
        self.folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        self._values = {position: self._value(position) for position in self.positions()}

    def positions(self) -> list[int]:
        """The positions of the checkpoints that are there, ascending."""
        return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdigit())

    def best_position(self) -> int | None:
        """The position of the smallest value, the last of equal ones."""
        return next(iter(self._ranked()), None)

    def save(
        self,
        position: int,
        tree: PyTree,
        note: Mapping[str, Any] | None = None,
        *,
        value: float | None = None,
    ) -> None:
        """Write a checkpoint, and delete those that are no longer kept.

        Args:
            position: its name, >= 0: how many steps were made.
            tree: its arrays are saved; what is no number (a function) is not.
            note: anything that JSON can say.
            value: a loss, say: the smallest are kept. None and NaN are never the best.

        Raises:
            ValueError: where there is a checkpoint of that position, or a number in the tree is no
                JAX array.
            OSError: where it could not be written. What was there is as it was.
        """
        path, arrays = self._path(position), arrays_of(tree)
        if position < 0 or path.exists():
            raise bad_input(
                f"position={position} for a checkpoint in {self.folder}.",
                f"a position >= 0 that has none; there are {self.positions()}.",
                "restore the last checkpoint and go on from there, or take another folder.",
            )
        if value is not None and not np.isfinite(value):
            value = None
        held = {"arrays": describe(arrays), "note": dict(note or {}), "value": value}
        text = json.dumps(held)
        plain = {name: _for_all(numbers(array)) for name, array in arrays.items()}
        save = self._orbax.args
        try:
            self._writer.save(
                path,
                args=save.Composite(
                    arrays=save.StandardSave(_for_orbax(plain)),
                    held=save.JsonSave({"text": text, "checksum": zlib.crc32(text.encode())}),
                ),
            )
        except Exception as error:  # whatever Orbax or the system says of a disk
            self._sweep()
            raise OSError(
                f"the checkpoint of position {position} could not be written: {error}\n"
                f"  Expected: room for it, and the right to write, in {self.folder}.\n"
                f"  What to do: make room and start again: {self._whole()}."
            ) from error
        self._values[position] = value
        self._retire()

    def restore(self, like: Tree, position: int | None = None) -> tuple[Tree, dict[str, Any]]:
        """The tree and the note of a checkpoint, each array on the devices of `like`'s.

        Args:
            like: a tree of the same kind and sizes; its numbers are not read.
            position: of which; the last if None.

        Raises:
            ValueError: where there is none, or it is of something else, or damaged; the message
                names the arrays.
        """
        positions = self.positions()
        position = positions[-1] if position is None and positions else position
        if position not in positions:
            raise bad_input(
                f"position={position}, of {len(positions)} checkpoints in {self.folder}.",
                f"one of {positions}." if positions else "a checkpoint to restore.",
                "choose one that is there, or begin anew.",
            )
        path, arrays = self._path(position), arrays_of(like)
        where, held = f"the checkpoint {path}", self._held(position)
        refuse_other(held["arrays"], arrays, where)
        values = self._read(path, held, arrays, where)
        refuse_damaged(held["arrays"], values, where)
        placed = {name: place_like(values[name], array) for name, array in arrays.items()}
        return put_back(like, placed), held["note"]

    def _read(
        self, path: pathlib.Path, held: dict, arrays: Mapping[str, Array], where: str
    ) -> dict[str, np.ndarray]:
        blank = {}
        for name in held["arrays"]:
            kind = jax.eval_shape(numbers, arrays[name])
            # As NumPy arrays, so that where they go is ours to say, and float64 stays itself.
            blank[name] = np.broadcast_to(np.zeros((), kind.dtype), kind.shape)
        load = self._orbax.args
        try:
            wanted = load.StandardRestore(_for_orbax(blank))
            found = self._writer.restore(path, args=load.Composite(arrays=wanted)).arrays
            values = (np.asarray(found[slot]) for slot in sorted(found))
            full = (name for name, value in blank.items() if value.size)
            return blank | dict(zip(full, values, strict=True))
        except Exception as error:  # Orbax has many words for it
            raise damaged(where, error) from error

    def _held(self, position: int) -> dict[str, Any]:
        path = self._path(position)
        load = self._orbax.args
        try:
            written = self._writer.restore(path, args=load.Composite(held=load.JsonRestore())).held
            if zlib.crc32(written["text"].encode()) != written["checksum"]:
                raise ValueError("its description is not what was written")
            return json.loads(written["text"])
        except Exception as error:  # a file that is gone, no JSON, or other JSON
            raise damaged(f"the checkpoint {path}", error) from error

    def _value(self, position: int) -> float | None:
        """What it is kept for; a damaged one is not, and says so when it is restored."""
        try:
            return self._held(position)["value"]
        except ValueError:
            return None

    def _path(self, position: int) -> pathlib.Path:
        return self.folder / f"{position:010d}"

    def _whole(self) -> str:
        positions = self.positions()
        return f"the checkpoint of {positions[-1]} is whole" if positions else "there was none yet"

    def _ranked(self) -> list[int]:
        known = {position: value for position, value in self._values.items() if value is not None}
        return sorted(known, key=lambda position: (known[position], -position))

    def _retire(self) -> None:
        kept = {*sorted(self._values)[-self.last :], *self._ranked()[: self.best]}
        for position in self._values.keys() - kept:
            del self._values[position]
            if jax.process_index() == 0:
                # Renamed first: a program killed half-way leaves none that looks like a whole one.
                path = self._path(position)
                shutil.rmtree(path.rename(path.with_name(f"{path.name}.deleted")))

    def _sweep(self) -> None:
        """Delete what a killed program left."""
        if jax.process_index() == 0:
            for path in self.folder.iterdir():
                number, _, rest = path.name.partition(".")
                if number.isdigit() and rest.startswith(("deleted", "orbax-checkpoint-tmp")):
                    shutil.rmtree(path, ignore_errors=True)


def _for_all(array: Array) -> Array | np.ndarray:
    """What one process holds alone, of several, is taken to be the same in each: one writes it."""
    alone = jax.process_count() > 1 and array.is_fully_addressable
    return np.asarray(array) if alone else array


def _for_orbax(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """By their places, since Orbax takes no empty arrays and reads meaning into names."""
    return {f"{i:05d}": array for i, array in enumerate(arrays.values()) if array.size}


def _orbax() -> Any:
    try:
        import orbax.checkpoint
    except ImportError as error:
        raise ImportError(
            "checkpoints want Orbax, which is not installed here.\n"
            "  Expected: the package orbax-checkpoint.\n"
            "  What to do: pip install 'seqmem[train]'."
        ) from error
    return orbax.checkpoint
