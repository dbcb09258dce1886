"""Rotary embeddings for sequences that are longer than those of the training: slower rotations."""

import abc
import dataclasses
import math

import numpy as np
from jaxtyping import Float

from ..._core.validation import check_positive

Frequencies = Float[np.ndarray, " pairs"]


class AbstractRoPEScaling(abc.ABC):
    """How `RoPE` changes the angles θ_i of its pairs. Subclasses are frozen dataclasses."""

    @property
    def amplitude(self) -> float:
        """What rotated queries and keys are multiplied by."""
        return 1.0

    @abc.abstractmethod
    def frequencies(self, theta: Frequencies, base: float) -> Frequencies:
        """The angles per step, from θ_i = base^{−2(i−1)/size}."""


@dataclasses.dataclass(frozen=True)
class LinearScaling(AbstractRoPEScaling):
    """Position interpolation: θ_i ← θ_i / factor.

    Source: Chen et al. 2023, arXiv:2306.15595 (not read); as transformers 5.24 computes "linear".

    Args:
        factor: > 0, how many times longer sequences become.

    Raises:
        ValueError: for a factor of 0 or below.
    """

    factor: float

    def __post_init__(self):
        _check("LinearScaling", factor=self.factor)

    def frequencies(self, theta, base):
        return theta / self.factor


@dataclasses.dataclass(frozen=True)
class Llama3Scaling(AbstractRoPEScaling):
    """The scaling of Llama 3.1: pairs that turn slowly are interpolated, fast ones are left alone.

        s_i = clip((L θ_i / 2π − low) / (high − low), 0, 1)
        θ_i ← (1 − s_i) θ_i / factor + s_i θ_i

    L θ_i / 2π is how often a pair turns within L steps.

    Source: as transformers 5.24 computes "llama3".

    Args:
        factor: > 0, how many times longer sequences become.
        original_length: L, > 0, the steps of the sequences of the first training.
        low: > 0; pairs with fewer turns are interpolated.
        high: > low; pairs with more turns are left alone.

    Raises:
        ValueError: for a number of 0 or below, and unless high is above low.
    """

    factor: float = 8.0
    original_length: int = 8192
    low: float = 1.0
    high: float = 4.0

    def __post_init__(self):
        _check("Llama3Scaling", **dataclasses.asdict(self))
        _check("Llama3Scaling", **{"high - low": self.high - self.low})

    def frequencies(self, theta, base):
        turns = self.original_length * theta / (2 * np.pi)
        s = np.clip((turns - self.low) / (self.high - self.low), 0, 1)
        return (1 - s) * theta / self.factor + s * theta


@dataclasses.dataclass(frozen=True)
class YaRNScaling(AbstractRoPEScaling):
    """YaRN: slow pairs are interpolated, fast ones left alone, and products grow with the factor.

        c(β) = size ln(L / 2πβ) / (2 ln base)           the pair that turns β times within L steps
        r_i = clip((i − low) / (high − low), 0, 1)      low = ⌊c(fast)⌋, high = ⌈c(slow)⌉, i from 0
        θ_i ← r_i θ_i / factor + (1 − r_i) θ_i
        q, k ← a q, a k                                 a = 0.1 ln(factor) + 1

    with low at least 0, high at most size − 1, and a for the rotated entries only.

    Source: Peng et al. 2023, arXiv:2309.00071 (not read); as transformers 5.24 computes "yarn" with
    whole numbers low and high.

    Args:
        factor: > 0, how many times longer sequences become.
        original_length: L, > 0, the steps of the sequences of the first training.
        fast: > 0; pairs with more turns are left alone.
        slow: > 0; pairs with fewer turns are interpolated.
        attention_factor: a, > 0; None is the value above, and 1 for factors up to 1.

    Raises:
        ValueError: for a number of 0 or below.
    """

    factor: float
    original_length: int
    fast: float = 32.0
    slow: float = 1.0
    attention_factor: float | None = None

    def __post_init__(self):
        numbers = dataclasses.asdict(self)
        if self.attention_factor is None:
            del numbers["attention_factor"]
        _check("YaRNScaling", **numbers)

    @property
    def amplitude(self) -> float:
        if self.attention_factor is not None:
            return self.attention_factor
        return 0.1 * math.log(self.factor) + 1 if self.factor > 1 else 1.0

    def frequencies(self, theta, base):
        size = 2 * len(theta)

        def pair_of(turns: float) -> float:
            ratio = self.original_length / (2 * math.pi * turns)
            return size * math.log(ratio) / (2 * math.log(base))

        low = max(math.floor(pair_of(self.fast)), 0)
        high = min(math.ceil(pair_of(self.slow)), size - 1)
        width = high - low or 0.001
        r = np.clip((np.arange(len(theta)) - low) / width, 0, 1)
        return r * theta / self.factor + (1 - r) * theta


def _check(owner: str, **numbers: float) -> None:
    for name, value in numbers.items():
        check_positive(owner, name, value, remedy="pass what the model's configuration says.")
