"""Callbacks of `train` that stop a run."""

import math
from collections.abc import Mapping

from .._core.errors import bad_input


def stop_if_nonfinite(position: int, metrics: Mapping[str, float]) -> None:
    """Stop the run if a metric is not finite, unless the step was skipped.

    Args:
        position: number of the step.
        metrics: metrics of the step. A metric `skipped` that is not 0 says that the step changed
            nothing.

    Raises:
        FloatingPointError: where a metric is infinite or NaN.
    """
    nonfinite = [f"{name} {value}" for name, value in metrics.items() if not math.isfinite(value)]
    if nonfinite and not metrics.get("skipped"):
        raise _floating_point_error(
            f"step {position} returned {', '.join(nonfinite)}.",
            "finite metrics, or a step that is skipped and says so.",
            "lower the learning rate, clip the gradient, use a step of training.make_step, or pass "
            "another on_step.",
        )


def stop_if_skipped(position: int, metrics: Mapping[str, float]) -> None:
    """Stop the run if the step was skipped.

    Args:
        position: number of the step.
        metrics: metrics of a step of `training.make_step`. Waits until they are computed.

    Raises:
        FloatingPointError: where the step was skipped.
    """
    if not int(metrics["skipped"]):
        return
    loss, norm, weight = (float(metrics[name]) for name in ("loss", "gradient_norm", "weight"))
    raise _floating_point_error(
        f"step {position} was skipped: loss {loss}, gradient norm {norm}, weight {weight}.",
        "a finite loss, gradient and update; the training state is that before the step.",
        "find the steps with large gradients by seqmem.gradients.value_grad_and_flow; clip the "
        "gradient, or lower the learning rate. A weight of 0 is a batch without a valid step.",
    )


def _floating_point_error(*sentences: str) -> FloatingPointError:
    return FloatingPointError(str(bad_input(*sentences)))
