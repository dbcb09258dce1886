"""Tables of metrics in files that grow."""

import csv
import io
import json
import math
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from .._core.errors import bad_input
from ._disk import make_folder
from ._growing_file import GrowingFile, read_lines


class Metrics:
    """A table of metrics that grows by rows, as `<stem>.jsonl` and as `<stem>.csv`.

    When `write` returns, the row is in both files. JSON has no number for NaN and infinity; the
    strings "NaN", "Infinity" and "-Infinity" replace them.

    Args:
        stem: path of the files, without the suffix; folders are made.
        keep_rows: how many rows of an earlier run are kept; later rows are deleted. With None, the
            files must be new or empty.
        checksums: `checksums` after these rows, to verify the files; None verifies nothing.

    Raises:
        ValueError: where the files hold fewer rows or are no tables; with None, where they hold any
            row; where they are not as they were written. The files are then as they were.
        OSError: where the files cannot be made.

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

    def __init__(
        self,
        stem: str | os.PathLike,
        *,
        keep_rows: int | None = None,
        checksums: Sequence[int] | None = None,
    ):
        stem = pathlib.Path(stem)
        make_folder(stem.parent)
        jsonl_path, csv_path = (stem.with_name(stem.name + end) for end in (".jsonl", ".csv"))
        if keep_rows is None:
            _check_empty(jsonl_path, csv_path)
        jsonl_checksum, csv_checksum = checksums or (None, None)
        num_lines = keep_rows + 1 if keep_rows else 0
        jsonl, csv_lines = (
            read_lines(jsonl_path, keep_rows or 0, jsonl_checksum),
            read_lines(csv_path, num_lines, csv_checksum),
        )
        self._columns = _columns(csv_lines.first, csv_path) if keep_rows else None
        self._jsonl, self._csv = GrowingFile(jsonl_path, jsonl), GrowingFile(csv_path, csv_lines)

    @property
    def checksums(self) -> tuple[int, int]:
        """The checksums of all rows: of the JSON lines, and of the CSV."""
        return self._jsonl.checksum, self._csv.checksum

    def write(self, row: Mapping[str, float]) -> None:
        """Add a row.

        Raises:
            ValueError: where its columns are not those of the first row.
            OSError: where writing failed.
        """
        is_first = self._columns is None
        columns = self._columns = list(row) if self._columns is None else self._columns
        if set(row) != set(columns):
            raise bad_input(
                f"a row with the columns {', '.join(row)}.",
                f"the columns of the first row: {', '.join(columns)}.",
                "return the same metrics at every step, NaN for an unknown value.",
            )
        row = {name: row[name] for name in columns}
        self._jsonl.write(json.dumps({name: _json(value) for name, value in row.items()}) + "\n")
        self._csv.write((_csv_line(columns) if is_first else "") + _csv_line(row.values()))

    def sync(self) -> None:
        """Wait until all rows are on the disk.

        Raises:
            OSError: where writing failed.
        """
        self._jsonl.sync()
        self._csv.sync()

    def close(self) -> None:
        """Close the files."""
        self._jsonl.close()
        self._csv.close()

    def __enter__(self) -> "Metrics":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _csv_line(values: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()


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
