"""Tables of metrics in files that grow."""

import csv
import json
import math
import os
import pathlib
from collections.abc import Mapping

from .._core.errors import bad_input


class Metrics:
    """A table of metrics that grows by rows, as `<stem>.jsonl` and as `<stem>.csv`.

    When `write` returns, the row is in both files. JSON has no number for NaN and infinity; the
    strings "NaN", "Infinity" and "-Infinity" replace them.

    Args:
        stem: path of the files, without the suffix; folders are made.
        keep_rows: how many rows of an earlier run are kept; later rows are deleted. With None, the
            files must be new or empty.

    Raises:
        ValueError: where the files hold fewer rows or are no tables; with None, where they hold any
            row.

    Example:
        >>> import pathlib, tempfile
        >>> from seqmem.experiment import Metrics
        >>> stem = pathlib.Path(tempfile.mkdtemp()) / "training"
        >>> with Metrics(stem) as metrics:
        ...     for position in (1, 2, 3):
        ...         metrics.write({"position": position, "loss": 1 / position})
        >>> with Metrics(stem, keep_rows=2) as metrics:
        ...     metrics.write({"position": 3, "loss": 0.25})
        >>> print(stem.with_suffix(".csv").read_text(), end="")
        position,loss
        1,1.0
        2,0.5
        3,0.25
    """

    def __init__(self, stem: str | os.PathLike, *, keep_rows: int | None = None):
        stem = pathlib.Path(stem)
        stem.parent.mkdir(parents=True, exist_ok=True)
        jsonl_path, csv_path = (stem.with_name(stem.name + end) for end in (".jsonl", ".csv"))
        if keep_rows is None:
            _check_empty(jsonl_path, csv_path)
        keep_rows = keep_rows or 0
        _truncate(jsonl_path, keep_rows)
        header = _truncate(csv_path, keep_rows + 1 if keep_rows else 0)
        self._columns = _columns(header, csv_path) if keep_rows else None
        self._jsonl = jsonl_path.open("a", encoding="utf-8")
        self._csv = csv_path.open("a", encoding="utf-8", newline="")

    def write(self, row: Mapping[str, float]) -> None:
        """Add a row.

        Raises:
            ValueError: where its columns are not those of the first row.
        """
        writer = csv.writer(self._csv, lineterminator="\n")
        if self._columns is None:
            self._columns = list(row)
            writer.writerow(self._columns)
        if set(row) != set(self._columns):
            raise bad_input(
                f"a row with the columns {', '.join(row)}.",
                f"the columns of the first row: {', '.join(self._columns)}.",
                "return the same metrics at every step, NaN for an unknown value.",
            )
        row = {name: row[name] for name in self._columns}
        self._jsonl.write(json.dumps({name: _json(value) for name, value in row.items()}) + "\n")
        writer.writerow(row.values())
        self._jsonl.flush()
        self._csv.flush()

    def sync(self) -> None:
        """Wait until all rows are on the disk."""
        os.fsync(self._jsonl.fileno())
        os.fsync(self._csv.fileno())

    def close(self) -> None:
        """Close the files."""
        self._jsonl.close()
        self._csv.close()

    def __enter__(self) -> "Metrics":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _json(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _check_empty(*paths: pathlib.Path) -> None:
    for path in paths:
        if path.exists() and path.stat().st_size:
            raise bad_input(
                f"{path} holds the rows of another run.",
                "new files, or the files of a run that resumes from a checkpoint.",
                "choose another folder, or move these files.",
            )


def _columns(header: bytes, path: pathlib.Path) -> list[str]:
    """The names in the first line of a table."""
    try:
        return next(csv.reader([header.decode()], strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise bad_input(
            f"the first line of {path} names no columns: {error}.",
            "the table that was written before the checkpoint.",
            "choose the folder of that run, or a new folder and new checkpoints.",
        ) from error


def _truncate(path: pathlib.Path, num_lines: int) -> bytes:
    """Keep the first `num_lines` lines of a file, and return the first."""
    if num_lines == 0:
        path.write_bytes(b"")
        return b""
    complete, size, first = 0, 0, b""
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                if complete == num_lines or not line.endswith(b"\n"):
                    break
                first, complete, size = first or line, complete + 1, size + len(line)
    if complete < num_lines:
        raise bad_input(
            f"{path} holds {complete} complete lines.",
            f"the {num_lines} lines that were written before the checkpoint.",
            "choose the folder of that run, or a new folder and new checkpoints.",
        )
    os.truncate(path, size)
    return first
