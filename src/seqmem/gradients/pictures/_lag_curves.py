"""Gradient norms against the lag."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ._arrays import named_arrays, norm_array
from ._figure import Marker, new_figure, plot_lines
from ._matplotlib import Figure

MARKERS = {
    "x": Marker("not finite", lambda y: ~np.isfinite(y)),
    "v": Marker("0", lambda y: y == 0),
}


def lag_curves(curves: Mapping[str, Any]) -> Figure:
    """The norm of the gradient against the lag, one line per name. A cross marks the first lag at
    which it is not finite, a triangle the first at which it is 0.

    Args:
        curves: norms [lag] by name.

    Raises:
        ValueError: for another shape, or norms below 0.
    """
    arrays = named_arrays(curves, norm_array, "lag")
    figure, axes = new_figure("lag $k$ (steps)", r"$\Vert\partial L/\partial s_{T-k}\Vert$")
    axes.set_yscale("log")
    plot_lines(axes, arrays, lambda curve: np.arange(len(curve)), MARKERS, first_only=True)
    return figure
