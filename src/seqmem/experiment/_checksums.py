"""Checksums of arrays, also of those that are spread over several processes."""

import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from jax.experimental.multihost_utils import process_allgather
from jaxtyping import Array

from ..training._placement import raw_array

Bounds = tuple[tuple[int, int], ...]  # start and stop along each axis
Checksum = int | list[tuple[Bounds, int]]  # of the array, or of each of its shards


def checksums_of(arrays: Mapping[str, Array]) -> dict[str, Checksum]:
    """The checksum of each array, or those of its shards where no process has all of it. Then all
    processes that share it call this.
    """
    raw = {name: raw_array(array) for name, array in arrays.items()}
    return {
        name: _shard_checksums(array) if is_spread(array) else _crc(array)
        for name, array in raw.items()
    }


def has_checksum(value: np.ndarray, checksum: Any) -> bool:
    """Whether an array has a checksum of `checksums_of`, which JSON has turned into lists."""
    if isinstance(checksum, int):
        return _crc(value) == checksum
    return all(
        _crc(value[tuple(slice(*axis) for axis in bounds)]) == crc for bounds, crc in checksum
    )


def is_checksum(value: Any, shape: list[int]) -> bool:
    """Whether a value read from JSON is a checksum of all of an array."""
    if not isinstance(value, list):
        return type(value) is int
    try:
        sizes = [
            [len(range(size)[slice(*axis)]) for axis, size in zip(bounds, shape, strict=True)]
            for bounds, crc in value
            if type(crc) is int
        ]
        return sum(map(math.prod, sizes)) == math.prod(shape)
    except (TypeError, ValueError):
        return False


def is_spread(array: Array) -> bool:
    """Whether no process has all of an array."""
    return not (array.is_fully_addressable or array.is_fully_replicated)


def _shard_checksums(array: Array) -> list[tuple[Bounds, int]]:
    indices = array.sharding.devices_indices_map(array.shape).values()
    shards = sorted({_bounds(index, array.shape) for index in indices})
    checksums = np.zeros(len(shards), np.uint32)
    for shard in array.addressable_shards:
        checksums[shards.index(_bounds(shard.index, array.shape))] = _crc(shard.data)
    gathered = np.asarray(process_allgather(checksums))  # 0 where a process has no such shard
    return list(zip(shards, gathered.max(0).tolist(), strict=True))


def _bounds(index: tuple[slice, ...], shape: tuple[int, ...]) -> Bounds:
    return tuple(axis.indices(size)[:2] for axis, size in zip(index, shape, strict=True))


def _crc(array: Array | np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
