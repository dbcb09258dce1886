"""The two biases of a GRU elsewhere, of the input and of the state. Only their sum counts in the
gates; the candidate, whose second product the reset gate multiplies, has both: b and c here.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ._kernels import by_gate, inverse
from .weight_table import concatenate


def merge_biases(inner: Any, outer: Any) -> Any:
    """b and c, one after the other, from biases (3 · hidden,) with the gates in our order."""
    hidden = len(inner) // 3
    gates, candidate = slice(None, 2 * hidden), slice(2 * hidden, None)
    return concatenate(inner[gates] + outer[gates], inner[candidate], outer[candidate])


def split_biases(b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """The inverse: (6, hidden), in both gates zeros for the state's bias."""
    return np.concatenate([b, np.zeros_like(b[:2]), c[None]])


def merge_pair(pair: Any, order: Sequence[int]) -> Any:
    """`merge_biases` of an array of both, (2, 3 · hidden), with our gates at these places."""
    return merge_biases(*(by_gate(pair[row], order).reshape(-1) for row in range(2)))


def split_pair(b: np.ndarray, c: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """The inverse."""
    rows = split_biases(b, c).reshape(2, -1)
    return np.stack([by_gate(row, inverse(order)).reshape(-1) for row in rows])
