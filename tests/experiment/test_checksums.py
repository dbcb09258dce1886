"""Checksums of arrays that are spread over several processes."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from seqmem.experiment import _checksums


def spread_array(values):
    """As a JAX array of two devices, the second axis split over them."""
    half = values.shape[1] // 2
    indices = {0: (slice(None), slice(0, half)), 1: (slice(None), slice(half, None))}
    return SimpleNamespace(
        dtype=values.dtype,
        shape=values.shape,
        is_fully_addressable=False,
        is_fully_replicated=False,
        sharding=SimpleNamespace(devices_indices_map=lambda shape: indices),
        addressable_shards=[SimpleNamespace(index=i, data=values[i]) for i in indices.values()],
    )


def test_every_number_of_a_spread_array_has_a_checksum():
    values = np.random.default_rng(0).normal(size=(7, 6)).astype(np.float32)
    checksums = _checksums.checksums_of({"x": spread_array(values)})
    checksums = json.loads(json.dumps(checksums))["x"]
    assert len(checksums) == 2
    assert _checksums.is_checksum(checksums, [7, 6])
    assert _checksums.has_checksum(values, checksums)
    for i in range(values.size):
        changed = values.copy()
        changed.view(np.uint32).flat[i] ^= 1
        assert not _checksums.has_checksum(changed, checksums)


@pytest.mark.parametrize(
    "value",
    [None, True, 0.5, "1", [], [[[[0, 7], [0, 3]], 5]], [[[[0, 42]], 5]], [[0, 1]], [5], [[[], 1]]],
)
def test_value_that_is_no_checksum_of_a_whole_array_is_refused(value):
    assert not _checksums.is_checksum(value, [7, 6])
