"""Gradient norms over training, as an image."""

from typing import Any

import numpy as np

from ._arrays import norm_array
from ._figure import NOT_FINITE_COLOUR, mark_edge, new_figure
from ._matplotlib import Figure, ListedColormap, LogNorm, Patch

ZERO_COLOUR = "#dddddd"


def flow_history(norms: Any, *, every: int = 1) -> Figure:
    """An image of the gradient's norm over training step and lag.

    0 and values that are not finite have their own colours. A training step with a value that is
    not finite is also marked at the upper edge, since its column may be narrower than a pixel.

    Args:
        norms: [training step, lag], such as `by_lag(flow.norm())` of each step, stacked.
        every: training steps from one row to the next.

    Raises:
        ValueError: for another shape, or norms below 0.
    """
    norms = norm_array(norms, "training step", "lag")
    figure, axes = new_figure("training step", "lag $k$ (steps)")
    num_steps, num_lags = norms.shape
    is_finite = np.isfinite(norms)
    is_positive = is_finite & (norms > 0)

    def show(values: np.ndarray, is_shown: np.ndarray, **options: Any) -> Any:
        return axes.imshow(
            np.ma.masked_array(values, ~is_shown).T,
            extent=(0, num_steps * every, -0.5, num_lags - 0.5),
            origin="lower",
            aspect="auto",
            interpolation="nearest",
            **options,
        )

    positive = norms[is_positive] if is_positive.any() else np.ones(1)
    scale = LogNorm(positive.min(), positive.max())
    image = show(np.where(is_positive, norms, 1), is_positive, norm=scale, cmap="viridis")
    patches = []
    for label, is_special, colour in (
        ("0", norms == 0, ZERO_COLOUR),
        ("not finite", ~is_finite, NOT_FINITE_COLOUR),
    ):
        show(np.ones_like(norms), is_special, cmap=ListedColormap([colour]))
        if is_special.any():
            patches.append(Patch(color=colour, label=label))
    steps = (np.flatnonzero(~is_finite.all(1)) + 0.5) * every
    if steps.size:
        mark_edge(axes, steps, "|", NOT_FINITE_COLOUR)
    figure.colorbar(image, label=r"$\Vert\partial L/\partial s_{T-k}\Vert$")
    if patches:
        figure.legend(handles=patches, loc="outside upper center", ncols=2, frameon=False)
    return figure
