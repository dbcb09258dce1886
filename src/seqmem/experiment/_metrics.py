"""Rows of numbers in files that grow."""

import csv
import json
import math
import os
import pathlib
from collections.abc import Mapping

from .._core.errors import bad_input


class Metrics:
    """A table that grows by rows, as `<stem>.jsonl` and as `<stem>.csv`.

    A row is in both files when `write` returns. In JSON, what is not finite is one of the words
    "NaN", "Infinity" and "-Infinity", for which it has no number.

    Args:
        stem: path of the files, without the ending; folders are made.
        rows: how many rows of an earlier run are kept; what comes after is cut off. With None there
            must be none.

    Raises:
        ValueError: where the files hold fewer rows; with None, where they hold any.

    Example:
        >>> import pathlib, tempfile
        >>> from seqmem.experiment import Metrics
        >>> stem = pathlib.Path(tempfile.mkdtemp()) / "training"
        >>> with Metrics(stem) as metrics:
        ...     for position in (1, 2, 3):
        ...         metrics.write({"position": position, "loss": 1 / position})
        >>> with Metrics(stem, rows=2) as metrics:
        ...     metrics.write({"position": 3, "loss": 0.25})
        >>> print(stem.with_suffix(".csv").read_text(), end="")
        position,loss
        1,1.0
        2,0.5
        3,0.25
    """

    def __init__(self, stem: str | os.PathLike, *, rows: int | None = None):
        stem = pathlib.Path(stem)
        stem.parent.mkdir(parents=True, exist_ok=True)
        lines, table = (stem.with_name(stem.name + end) for end in (".jsonl", ".csv"))
        if rows is None:
            _refuse_full(lines, table)
        rows = rows or 0
        _cut(lines, rows)
        head = _cut(table, rows + 1 if rows else 0)
        self._columns = next(csv.reader([head.decode()])) if rows else None
        self._lines = lines.open("a", encoding="utf-8")
        self._table = table.open("a", encoding="utf-8", newline="")

    def write(self, row: Mapping[str, float]) -> None:
        """Add a row.

        Raises:
            ValueError: where it has other columns than the first.
        """
        table = csv.writer(self._table, lineterminator="\n")
        if self._columns is None:
            self._columns = list(row)
            table.writerow(self._columns)
        if set(row) != set(self._columns):
            raise bad_input(
                f"a row of {', '.join(row)}.",
                f"the columns of the first row: {', '.join(self._columns)}.",
                "give the same names at every step; NaN stands for what is not known.",
            )
        told = {name: row[name] for name in self._columns}
        self._lines.write(json.dumps({name: _word(value) for name, value in told.items()}) + "\n")
        table.writerow(told.values())
        self._lines.flush()
        self._table.flush()

    def sync(self) -> None:
        """Wait until all rows are on the disk."""
        os.fsync(self._lines.fileno())
        os.fsync(self._table.fileno())

    def close(self) -> None:
        self._lines.close()
        self._table.close()

    def __enter__(self) -> "Metrics":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _word(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _refuse_full(*paths: pathlib.Path) -> None:
    for path in paths:
        if path.exists() and path.stat().st_size:
            raise bad_input(
                f"{path} holds the rows of another run.",
                "new files, or those of a run that goes on from a checkpoint.",
                "take another folder, or move these away.",
            )


def _cut(path: pathlib.Path, count: int) -> bytes:
    """Leave the first `count` lines of a file, and give back the first."""
    if count == 0:
        path.write_bytes(b"")
        return b""
    whole, size, first = 0, 0, b""
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                if whole == count or not line.endswith(b"\n"):
                    break
                first, whole, size = first or line, whole + 1, size + len(line)
    if whole < count:
        raise bad_input(
            f"{path} holds {whole} whole lines.",
            f"the {count} that were written before the checkpoint.",
            "give the folder of that run, or a new one together with new checkpoints.",
        )
    os.truncate(path, size)
    return first
