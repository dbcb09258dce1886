"""Pictures of gradients over time. Each function takes arrays and returns a Figure.

Needs matplotlib: `pip install 'seqmem[plot]'`. What is not finite is marked, never left out.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._errors import bad_input
from ._window import Recommendation

try:
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure
except ImportError as error:  # pragma: no cover
    raise ImportError("pictures need matplotlib: pip install 'seqmem[plot]'") from error

# Okabe & Ito's palette, for eyes that see colours differently.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SIZE = (4.2, 2.8)  # inches


def flow_history(norms: Any, *, every: int = 1) -> Figure:
    """Norm of the gradient over training step and lag, as colours.

    Args:
        norms: [training step, lag], such as `by_lag(flow.norm())` of each step, stacked.
        every: training steps from one row to the next.
    """
    norms = _array(norms, 2, "[training step, lag]")
    figure, axes = _axes("training step", "lag k (steps)")
    shown = np.where(np.isfinite(norms) & (norms > 0), norms, np.nan)
    if np.isnan(shown).all():
        shown = np.where(np.isnan(shown), 1.0, shown)
    steps, lags = norms.shape
    image = axes.imshow(
        np.ma.masked_invalid(shown).T,
        origin="lower",
        aspect="auto",
        extent=(0, steps * every, -0.5, lags - 0.5),
        norm=LogNorm(),
        cmap="viridis",
        interpolation="nearest",
    )
    for where, colour in ((norms == 0, "#dddddd"), (~np.isfinite(norms), "#D55E00")):
        over = np.ma.masked_where(~where, np.ones_like(norms)).T
        axes.imshow(
            over,
            origin="lower",
            aspect="auto",
            extent=image.get_extent(),
            cmap=_flat(colour),
            interpolation="nearest",
        )
    figure.colorbar(image, label="‖∂L/∂s‖ (red: not finite, grey: 0)")
    return figure


def lag_curves(curves: Mapping[str, Any]) -> Figure:
    """Norm of the gradient against the lag, one line per name; a cross where it stops being finite.

    Args:
        curves: norms [lag] by name.
    """
    figure, axes = _axes("lag k (steps)", "‖∂L/∂s_{T−k}‖")
    axes.set_yscale("log")
    for colour, (name, curve) in zip(_colours(curves), curves.items(), strict=True):
        curve = _array(curve, 1, "[lag]")
        axes.plot(
            np.where(np.isfinite(curve) & (curve > 0), curve, np.nan), color=colour, label=name
        )
        if not np.isfinite(curve).all():
            first = int(np.argmin(np.isfinite(curve)))
            axes.plot(
                first, 1, "x", color=colour, transform=axes.get_xaxis_transform(), clip_on=False
            )
    axes.legend(frameon=False)
    return figure


def eigenvalues(matrices: Mapping[str, Any]) -> Figure:
    """The eigenvalues of matrices, recurrent weights or Jacobians, beside the unit circle.

    Args:
        matrices: [n, n] by name.
    """
    figure, axes = _axes("real part", "imaginary part")
    turn = np.linspace(0, 2 * np.pi, 200)
    axes.plot(np.cos(turn), np.sin(turn), color="0.6", lw=0.8)
    for colour, (name, matrix) in zip(_colours(matrices), matrices.items(), strict=True):
        found = np.linalg.eigvals(_array(matrix, 2, "[n, n]"))
        axes.plot(found.real, found.imag, ".", ms=4, color=colour, label=name)
    axes.set_aspect("equal")
    axes.legend(frameon=False)
    return figure


def exponents(spectra: Mapping[str, Any]) -> Figure:
    """Lyapunov exponents, largest first, against the share of directions.

    Args:
        spectra: exponents [k] by name, in nats per step.
    """
    figure, axes = _axes("direction i / k", "Lyapunov exponent (nats per step)")
    axes.axhline(0, color="0.6", lw=0.8)
    for colour, (name, found) in zip(_colours(spectra), spectra.items(), strict=True):
        found = _array(found, 1, "[k]")
        places = np.arange(1, 1 + len(found)) / len(found)
        axes.plot(places, found, ".-", ms=3, color=colour, label=name)
    axes.legend(frameon=False)
    return figure


def horizon_history(histories: Mapping[str, Any], *, every: int = 1) -> Figure:
    """A horizon over training; a cross where there is none within the curve.

    Args:
        histories: horizons [training step] by name, in steps.
        every: training steps from one value to the next.
    """
    figure, axes = _axes("training step", "horizon (steps)")
    for colour, (name, history) in zip(_colours(histories), histories.items(), strict=True):
        history = _array(history, 1, "[training step]")
        steps = np.arange(len(history)) * every
        finite = np.isfinite(history)
        axes.plot(steps, np.where(finite, history, np.nan), color=colour, label=name)
        if not finite.all():
            top = np.ones((~finite).sum())
            where = axes.get_xaxis_transform()
            axes.plot(steps[~finite], top, "x", ms=3, color=colour, transform=where, clip_on=False)
    axes.legend(frameon=False)
    return figure


def window_bias(found: Mapping[str, Recommendation], *, bias: float) -> Figure:
    """Relative bias of truncated gradients against the window: mean and 2 standard errors.

    Args:
        found: what `recommend_window` returned, by name.
        bias: what was allowed.
    """
    figure, axes = _axes("window (steps)", "‖g′ − g‖ / ‖g‖")
    axes.set(xscale="log", yscale="log")
    axes.axhline(bias, color="0.6", lw=0.8)
    for colour, (name, one) in zip(_colours(found), found.items(), strict=True):
        mean = one.relative.mean(1)
        some = mean > 0  # a logarithm shows no 0
        axes.errorbar(
            one.windows[some],
            mean[some],
            (one.bound - mean)[some],
            fmt=".-",
            color=colour,
            label=f"{name}: {one.window}",
        )
        axes.axvline(one.window, color=colour, lw=0.8, ls=":")
    axes.legend(frameon=False)
    return figure


def _axes(x: str, y: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=SIZE, dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _flat(colour: str) -> Any:
    from matplotlib.colors import ListedColormap

    return ListedColormap([colour])


def _colours(named: Mapping[str, Any]) -> list[str]:
    return [COLOURS[place % len(COLOURS)] for place in range(len(named))]


def _array(values: Any, axes: int, shape: str) -> np.ndarray:
    array = np.asarray(values, float)
    if array.ndim != axes or not array.size:
        raise bad_input(
            f"an array of shape {array.shape} to draw.",
            f"{shape}, with at least one entry.",
            "take one example, or the mean or median over the batch.",
        )
    return array
