"""Cells for the kernels of a diagonal recurrence, and the versions of JAX that have them."""

import jax
import pytest

import seqmem
from seqmem._methods.linear_scan import choice

KEY = jax.random.key(0)
INTERPRETED = seqmem.Parallel(kernel="interpret")
CELLS = {
    "LRU": lambda size: seqmem.LRU(2, size, key=KEY),
    "MinGRU": lambda size: seqmem.MinGRU(2, size, key=KEY),
    "S5": lambda size: seqmem.S5(2, size, key=KEY),
    "RGLRU": lambda size: seqmem.RGLRU(size, key=KEY),
}
HAS_HOPPER = pytest.mark.skipif(
    jax.__version__ not in choice.HOPPER_VERSIONS,
    reason=f"the kernel for Hopper is for jax {', '.join(choice.HOPPER_VERSIONS)}",
)
