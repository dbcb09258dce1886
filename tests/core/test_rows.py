"""A state as rows, one column for each unit, and back."""

import numpy as np
import pytest

from seqmem._core.rows import from_rows, to_rows

A, B = np.arange(6.0).reshape(2, 3), 10 + np.arange(6.0).reshape(2, 3)
V = 20 + np.arange(3.0)


@pytest.mark.parametrize(
    ("state", "unit_axes", "rows"),
    [
        ({"a": A, "b": B}, None, [A.ravel(), B.ravel()]),
        ({"a": A, "b": B}, 2, [A.ravel(), B.ravel()]),
        ({"a": A, "v": V}, 1, [*A, V]),
    ],
)
def test_rows_hold_the_numbers_of_each_unit(state, unit_axes, rows):
    got = to_rows(state, 0, unit_axes)
    np.testing.assert_array_equal(got, rows)
    back = from_rows(got, state, unit_axes)
    assert {name: leaf.tolist() for name, leaf in back.items()} == {
        name: leaf.tolist() for name, leaf in state.items()
    }
    over_time = {name: np.stack([leaf, -leaf]) for name, leaf in state.items()}
    want = np.stack([rows, np.negative(rows)])
    np.testing.assert_array_equal(to_rows(over_time, 1, unit_axes), want)
