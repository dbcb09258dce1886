"""Sizes, lengths and resets of the sequences that the laws run, and random numbers for them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from .._core.precision import precision
from .reference_loop import SequenceFlags

TIME, BATCH = 7, 3  # different primes, so that no swapped axis hides

FULL_LENGTHS = np.full(BATCH, TIME)
LENGTHS = np.array([TIME, 4, 0])
NO_RESETS = np.zeros((TIME, BATCH), bool)
RESETS = NO_RESETS.copy()
# At the first step, inside, just after the last valid step (t = 4 of the second sequence), and far
# in the padding.
RESETS[[2, 5, 0, 3, 4, 1], [0, 0, 1, 1, 1, 2]] = True
MASK = np.ones((TIME, BATCH), bool)
MASK[[0, 3, 4, 2, 3, 5], [0, 0, 0, 1, 1, 2]] = False

PLAIN = SequenceFlags("", FULL_LENGTHS, NO_RESETS)
WITH_LENGTHS = SequenceFlags(" with lengths", LENGTHS, NO_RESETS)
WITH_RESETS = SequenceFlags(" with resets", FULL_LENGTHS, RESETS)
WITH_BOTH = SequenceFlags(" with lengths and resets", LENGTHS, RESETS)


def normal(rng: np.random.Generator, like: Any) -> np.ndarray:
    """Normal numbers of a shape and dtype."""
    numbers = rng.normal(size=like.shape)
    if np.issubdtype(like.dtype, np.complexfloating):
        numbers = numbers + 1j * rng.normal(size=like.shape)
    return np.asarray(numbers).astype(like.dtype)


def tolerance(state: PyTree) -> float:
    """The relative error that is allowed; a cell may insist on a float32 state."""
    return 1e-10 if precision(state) in (None, np.float64) else 1e-4


def inexact_shapes(shapes: PyTree) -> PyTree:
    """The shapes of leaves that can be differentiated; None elsewhere."""
    return jax.tree.map(
        lambda leaf: leaf if jnp.issubdtype(leaf.dtype, jnp.inexact) else None, shapes
    )
