"""How far a run is."""

import math
from typing import NamedTuple

from .._core.errors import bad_input


class Progress(NamedTuple):
    """Steps made, validations made, the best loss of these, and how many came after it."""

    position: int = 0
    validations: int = 0
    best: float | None = None
    since_best: int = 0

    def over(self, steps: int, patience: int | None) -> bool:
        """All steps are made, or validation has been no better for too long."""
        return self.position >= steps or (patience is not None and self.since_best >= patience)

    def validated(self, row: dict[str, float]) -> "Progress":
        """With one more validation. A loss that is not finite is never the best.

        Raises:
            ValueError: where the row has no loss.
        """
        if "loss" not in row:
            raise bad_input(
                f"a validation of {', '.join(row)}.",
                'a "loss" among its metrics: the smallest is the best.',
                "name what is to become small so.",
            )
        loss, count = row["loss"], self.validations + 1
        if math.isfinite(loss) and (self.best is None or loss < self.best):
            return self._replace(validations=count, best=loss, since_best=0)
        return self._replace(validations=count, since_best=self.since_best + 1)


def check_counts(
    steps: int, checkpoint_every: int, validate_every: int, patience: int | None
) -> None:
    """Raise ValueError where a run could never be over, or never be kept or validated."""
    if steps < 0 or min(checkpoint_every, validate_every, 1 if patience is None else patience) < 1:
        raise bad_input(
            f"{steps=}, {checkpoint_every=}, {validate_every=}, {patience=}.",
            "steps >= 0, and at least 1 of all else; no patience is None.",
            "count in steps, and patience in validations.",
        )
