"""Validation during training."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from .._core.validation import check_count


@dataclasses.dataclass(frozen=True)
class Validation:
    """Validation during `train`, and early stopping.

    Args:
        metrics: function of the training state that returns a dict of scalars, "loss" among them.
            It must not donate the state.
        every: steps between two validations, > 0.
        patience: stop after so many validations without a new smallest loss, > 0; None is never.

    Raises:
        ValueError: where a count is out of range.
    """

    metrics: Callable[[Any], Mapping[str, Any]]
    every: int = 1000
    patience: int | None = None

    def __post_init__(self):
        check_count("Validation", "every", self.every, remedy="count in steps.")
        if self.patience is not None:
            check_count("Validation", "patience", self.patience, remedy="count in validations.")
