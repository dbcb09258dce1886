"""The progress of a run, which a checkpoint holds as metadata."""

import math
from typing import NamedTuple

from .._core.errors import bad_input


class Progress(NamedTuple):
    """The progress of a run.

    Attributes:
        position: number of steps.
        validations: number of validations.
        best_loss: smallest validation loss; None before the first finite one.
        since_best: number of validations after the one with the smallest loss.
    """

    position: int = 0
    validations: int = 0
    best_loss: float | None = None
    since_best: int = 0

    def is_finished(self, steps: int, patience: int | None) -> bool:
        """Whether all steps are made, or early stopping ends the run."""
        return self.position >= steps or (patience is not None and self.since_best >= patience)

    def after_validation(self, metrics: dict[str, float]) -> "Progress":
        """The progress after one more validation. A loss that is not finite is never the best.

        Raises:
            ValueError: where the metrics have no loss.
        """
        if "loss" not in metrics:
            raise bad_input(
                f"validation metrics {', '.join(metrics)}.",
                'a metric "loss": the smallest is the best.',
                "name the metric that is to be minimised so.",
            )
        loss, validations = metrics["loss"], self.validations + 1
        if math.isfinite(loss) and (self.best_loss is None or loss < self.best_loss):
            return self._replace(validations=validations, best_loss=loss, since_best=0)
        return self._replace(validations=validations, since_best=self.since_best + 1)
