"""Tables of metrics."""

import math

import pytest

from seqmem import experiment
from tests.experiment.runs import THREE_PARTS, read_table


def test_row_with_other_columns_is_refused(tmp_path):
    with experiment.Metrics(tmp_path / "table") as table:
        table.write({"position": 1, "loss": 0.5})
        for row in ({"position": 2}, {"position": 2, "loss": 0.5, "norm": 1.0}):
            with pytest.raises(ValueError, match="a row with the columns position" + THREE_PARTS):
                table.write(row)
        table.write({"loss": -math.inf, "position": 2})
    assert read_table(tmp_path, "table")[1] == {"position": 2, "loss": "-Infinity"}
