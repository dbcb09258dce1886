"""Mosaic GPU, some names of which differ between the versions of JAX."""

from typing import Any

import jax
from jax.experimental.pallas import mosaic_gpu

plgpu: Any = mosaic_gpu


def write(ref: Any, value: jax.Array) -> None:
    """Store a value where no fastest order of addresses is known, or need not be."""
    if hasattr(plgpu, "store"):
        plgpu.store(ref, value, optimized=False)
    else:  # JAX 0.11, which does not ask for one
        ref[...] = value
