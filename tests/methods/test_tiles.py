"""A tile of a kernel has as many steps and examples as fast memory holds."""

import types

import numpy as np
import pytest

from seqmem._methods.fused.tiles import tile_sizes


def sizes(units, time, batch):
    """Of an LSTM in float32, whose 4 MiB of matrices are one plane for 1024 units."""
    parts = types.SimpleNamespace(
        units=units, sees_state=[True, False], num_planes=4, num_leaves=2, dtype=np.dtype("f4")
    )
    return tile_sizes(parts, time, batch, "float32")


@pytest.mark.parametrize(
    ("time", "batch", "tile"),
    [
        (100, 100, (9, 8)),  # 8 MiB by 28 planes of 4 KiB and 8 examples
        (3, 100, (3, 24)),
        (5, 17, (5, 8)),
    ],
)
def test_few_examples_have_more_steps_where_memory_is_short(time, batch, tile):
    assert sizes(1024, time, batch) == tile


def test_small_cell_has_the_most_steps_and_all_examples_up_to_128():
    assert sizes(16, 100, 9) == (32, 16)
    assert sizes(16, 7, 1000) == (7, 128)
