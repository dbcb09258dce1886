"""Metrics as Python numbers."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from .._core.errors import bad_input


def as_scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The metrics as Python numbers. Waits until they are computed.

    Raises:
        ValueError: for a metric that is no scalar.
    """
    values = jax.device_get(dict(metrics))
    for name, value in values.items():
        if np.ndim(value) != 0:
            raise bad_input(
                f"metric {name} of shape {value.shape}.",
                "scalars.",
                "reduce it in the step, or return each entry as a metric.",
            )
    return {
        name: value.item() if hasattr(value, "item") else value for name, value in values.items()
    }
