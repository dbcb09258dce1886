"""Distributions of initial parameters, and the comparison of an array with one of them."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import ndtr

MOST_ENTRIES = 16384  # of an array that are compared


def entries(array: np.ndarray, cell: Any) -> np.ndarray:
    return array


@dataclasses.dataclass(frozen=True)
class Normal:
    """Normal with mean 0; `of` maps the array, and its cell, to the numbers that are normal."""

    std: float
    of: Callable[[np.ndarray, Any], np.ndarray] = entries

    def probabilities(self, array: np.ndarray, cell: Any) -> np.ndarray:
        """The cumulative distribution function at each entry: uniform in [0, 1)."""
        return ndtr(self.of(array, cell) / self.std)

    def compare(self, array: np.ndarray, cell: Any) -> None:
        scaled = thin(self.of(array, cell)) / self.std
        assert abs(np.sqrt(np.mean(scaled**2)) - 1) < 4 / np.sqrt(2 * scaled.size)
        assert_uniform(ndtr(scaled))


@dataclasses.dataclass(frozen=True)
class FanIn:
    """Normal with mean 0 and a standard deviation of gain/√columns."""

    gain: float = 1.0

    def probabilities(self, array: np.ndarray, cell: Any) -> np.ndarray:
        return self._normal(array).probabilities(array, cell)

    def compare(self, array: np.ndarray, cell: Any) -> None:
        self._normal(array).compare(array, cell)

    def _normal(self, array: np.ndarray) -> Normal:
        return Normal(self.gain / np.sqrt(array.shape[-1]))


@dataclasses.dataclass(frozen=True)
class Uniform:
    """Uniform in [low, high); `of` as for `Normal`."""

    low: float
    high: float
    of: Callable[[np.ndarray, Any], np.ndarray] = entries

    def probabilities(self, array: np.ndarray, cell: Any) -> np.ndarray:
        return (self.of(array, cell) - self.low) / (self.high - self.low)

    def compare(self, array: np.ndarray, cell: Any) -> None:
        shares = self.probabilities(array, cell)
        near = 10 / shares.size  # the least of n is above it once in e¹⁰ draws
        assert -1e-5 <= shares.min() < near
        assert 1 - near < shares.max() <= 1 + 1e-5
        assert_uniform(thin(shares))


def log_uniform(low: float, high: float, of: Callable = entries) -> Uniform:
    """Numbers whose logarithms are uniform; `of` maps the array to these numbers."""
    return Uniform(np.log(low), np.log(high), lambda array, cell: np.log(of(array, cell)))


@dataclasses.dataclass(frozen=True)
class UniformFanIn:
    """Uniform within ±1/√columns."""

    def probabilities(self, array: np.ndarray, cell: Any) -> np.ndarray:
        return self._uniform(array).probabilities(array, cell)

    def compare(self, array: np.ndarray, cell: Any) -> None:
        self._uniform(array).compare(array, cell)

    def _uniform(self, array: np.ndarray) -> Uniform:
        bound = 1 / np.sqrt(array.shape[-1])
        return Uniform(-bound, bound)


@dataclasses.dataclass(frozen=True)
class Orthogonal:
    """Orthonormal rows, or columns where they are fewer; uniform over such matrices."""

    has_places: bool = False  # a kernel of a convolution, (gates, rows, *places, channels)

    def compare(self, array: np.ndarray, cell: Any) -> None:
        if self.has_places:
            array = array.reshape(*array.shape[:2], -1)
        U = array.reshape(-1, *array.shape[-2:])
        if U.shape[1] > U.shape[2]:
            U = U.swapaxes(1, 2)
        _, rows, columns = U.shape
        gram = U @ U.swapaxes(1, 2)
        np.testing.assert_allclose(gram - np.eye(rows), 0, rtol=0, atol=1e-5)
        signs = np.sign(np.diagonal(U, axis1=1, axis2=2))
        assert abs(signs.mean()) < 4 / np.sqrt(signs.size)
        assert_uniform(ndtr(thin(U) * np.sqrt(columns)))


@dataclasses.dataclass(frozen=True)
class Signs:
    """1 or −1, with equal probability."""

    def compare(self, array: np.ndarray, cell: Any) -> None:
        assert set(np.unique(array)) == {-1.0, 1.0}
        assert abs(array.mean()) < 4 / np.sqrt(array.size)


def assert_uniform(shares: np.ndarray) -> None:
    """The Kolmogorov-Smirnov distance to [0, 1) is exceeded by chance once in 8,000 times."""
    size = shares.size
    assert size >= 64, "too few entries to tell a distribution"
    distance = np.abs(np.sort(shares) - (np.arange(size) + 0.5) / size).max()
    assert distance < 2.2 / np.sqrt(size)


def thin(array: np.ndarray) -> np.ndarray:
    """Every n-th entry of a large array, n odd, so that rows of an even length are all seen."""
    every = array.size // MOST_ENTRIES | 1
    return np.asarray(array, float).ravel()[::every]


def assert_drawn(array: np.ndarray, expected: Any, cell: Any) -> None:
    """Compare with a distribution, or with numbers, or with a function of the cell."""
    if hasattr(expected, "compare"):
        expected.compare(np.asarray(array, float), cell)
        return
    numbers = expected(cell) if callable(expected) else expected
    numbers = np.broadcast_to(np.asarray(numbers, float), array.shape)
    np.testing.assert_allclose(array, numbers, rtol=1e-5, atol=1e-6)


def assert_no_draw_is_used_twice(arrays: dict[str, np.ndarray], rows: dict, cell: Any) -> None:
    """The random numbers of two arrays do not depend on each other."""
    shares = {
        name: rows[name].probabilities(np.asarray(array, float), cell).ravel()
        for name, array in arrays.items()
        if hasattr(rows[name], "probabilities")
    }
    for (one, first), (other, second) in itertools.combinations(shares.items(), 2):
        size = min(first.size, second.size, 1024)
        correlation = np.corrcoef(first[:size], second[:size])[0, 1]
        assert abs(correlation) < 5 / np.sqrt(size), f"{one} and {other} have the same draws"
