"""Tables of metrics."""

import math
import pathlib
from types import SimpleNamespace

import pytest

from seqmem import experiment
from tests.experiment.runs import THREE_PARTS, read_table
from tests.helpers.refusals import assert_refused


def test_row_with_other_columns_is_refused(tmp_path):
    with experiment.Metrics(tmp_path / "table") as table:
        table.write({"position": 1, "loss": 0.5})
        for row in ({"position": 2}, {"position": 2, "loss": 0.5, "norm": 1.0}):
            with pytest.raises(ValueError, match="a row with the columns position" + THREE_PARTS):
                table.write(row)
        table.write({"loss": -math.inf, "position": 2})
    assert read_table(tmp_path, "table")[1] == {"position": 2, "loss": "-Infinity"}


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("end", [".jsonl", ".csv"])
def test_full_disk_is_reported_with_what_to_do(tmp_path, end):
    (tmp_path / f"table{end}").symlink_to("/dev/full")
    message = f"table{end} could not be written: .*No space" + THREE_PARTS
    with (
        experiment.Metrics(tmp_path / "table") as table,
        pytest.raises(OSError, match=message),
    ):
        table.write({"position": 1, "loss": 0.5})


def test_row_that_is_written_in_parts_is_complete(tmp_path):
    with experiment.Metrics(tmp_path / "table") as table:
        for lines in (table._jsonl, table._csv):
            file = lines._file
            lines._file = SimpleNamespace(
                write=lambda content, file=file: file.write(content[:3]), close=file.close
            )
        table.write({"position": 1, "loss": 0.5})
    assert read_table(tmp_path, "table") == [{"position": 1, "loss": 0.5}]


@pytest.mark.parametrize("end", [".jsonl", ".csv"])
def test_changed_byte_of_a_kept_row_is_refused(tmp_path, end):
    with experiment.Metrics(tmp_path / "table") as table:
        for position in (1, 2):
            table.write({"position": position, "loss": 0.5})
        checksums = table.checksums
        table.write({"position": 3, "loss": 0.5})
    experiment.Metrics(tmp_path / "table", keep_rows=2, checksums=checksums).close()
    path = tmp_path / f"table{end}"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"5", b"4", 1))
    with pytest.raises(ValueError, match=rf"table{end} is damaged" + THREE_PARTS):
        experiment.Metrics(tmp_path / "table", keep_rows=2, checksums=checksums)
    path.write_bytes(content)
    with experiment.Metrics(tmp_path / "table", keep_rows=2, checksums=checksums) as table:
        assert table.checksums == checksums


@pytest.mark.parametrize("header", [b"position,\xff\n", b'"position\n', b'"position"x,loss\n'])
def test_table_without_columns_is_refused(tmp_path, header):
    path = tmp_path / "table.csv"
    path.write_bytes(header + b"1,0.5\n")
    path.with_suffix(".jsonl").write_text("{}\n")
    came = f"the first line of {path} names no columns"
    assert_refused(came, experiment.Metrics, tmp_path / "table", keep_rows=1)
