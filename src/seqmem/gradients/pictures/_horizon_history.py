"""Gradient horizons over training."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ._arrays import named_arrays, real_array
from ._figure import Marker, new_figure, plot_lines
from ._matplotlib import Figure

MARKERS = {"^": Marker("beyond the curve", np.isinf), "x": Marker("not finite", np.isnan)}


def horizon_history(histories: Mapping[str, Any], *, every: int = 1) -> Figure:
    """A horizon of `gradient_horizons` over training. A triangle marks inf, where the curve does
    not decay far enough to have a horizon; a cross marks NaN, where the curve is not finite.

    Args:
        histories: horizons [training step] by name, in steps.
        every: training steps from one value to the next.

    Raises:
        ValueError: for another shape.
    """
    arrays = named_arrays(histories, real_array, "training step")
    figure, axes = new_figure("training step", "horizon (steps)")
    plot_lines(axes, arrays, lambda history: np.arange(len(history)) * every, MARKERS)
    return figure
