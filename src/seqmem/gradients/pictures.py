"""Pictures of gradients over time. Each function takes arrays and returns a matplotlib Figure.

Needs matplotlib: `pip install 'seqmem[plot]'`. No backend is asked for and nothing is kept open:
`figure.savefig("picture.pdf")` is all there is to do. What is not finite is marked, never left out.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .._core.errors import bad_input
from ._recommend_window import Recommendation

try:
    from matplotlib.axes import Axes
    from matplotlib.colors import ListedColormap, LogNorm
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.ticker import NullFormatter, StrMethodFormatter
except ImportError as error:
    raise ImportError("Pictures need matplotlib: pip install 'seqmem[plot]'") from error

# Okabe & Ito's palette, for eyes that see colours differently; beyond it, lines are dashed.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", ":", "-.")
SIZE = (4.2, 2.8)  # inches
FEW = 200  # points, below which each is seen, also one alone between two that are not finite
ZERO, NOT_FINITE = "#dddddd", "#D55E00"
GUIDE: Any = {"color": "0.6", "lw": 0.8, "zorder": 0}


def flow_history(norms: Any, *, every: int = 1) -> Figure:
    """Norm of the gradient over training step and lag, as colours; 0 and what is not finite have
    colours of their own. A step with something not finite is marked at the upper edge too, since
    a column of a long training is narrower than a pixel.

    Args:
        norms: [training step, lag], such as `by_lag(flow.norm())` of each step, stacked.
        every: training steps from one row to the next.

    Raises:
        ValueError: for another shape, or norms below 0.
    """
    norms = _norms(norms, "training step", "lag")
    figure, axes = _axes("training step", "lag $k$ (steps)")
    steps, lags = norms.shape
    finite = np.isfinite(norms)
    usual = finite & (norms > 0)

    def draw(where: np.ndarray, values: np.ndarray, **colours: Any) -> Any:
        return axes.imshow(
            np.ma.masked_array(values, ~where).T,
            extent=(0, steps * every, -0.5, lags - 0.5),
            origin="lower",
            aspect="auto",
            interpolation="nearest",
            **colours,
        )

    shown = norms[usual] if usual.any() else np.ones(1)
    scale = LogNorm(shown.min(), shown.max())
    image = draw(usual, np.where(usual, norms, 1), norm=scale, cmap="viridis")
    patches = []
    for where, colour, name in ((norms == 0, ZERO, "0"), (~finite, NOT_FINITE, "not finite")):
        draw(where, np.ones_like(norms), cmap=ListedColormap([colour]))
        if where.any():
            patches.append(Patch(color=colour, label=name))
    met = (np.flatnonzero(~finite.all(1)) + 0.5) * every
    if met.size:
        _mark(axes, met, "|", NOT_FINITE)
    figure.colorbar(image, label=r"$\Vert\partial L/\partial s_{T-k}\Vert$")
    if patches:
        figure.legend(handles=patches, loc="outside upper center", ncols=2, frameon=False)
    return figure


def lag_curves(curves: Mapping[str, Any]) -> Figure:
    """Norm of the gradient against the lag, one line per name, with a cross at the first lag at
    which it is not finite and a triangle at the first at which it is 0.

    Args:
        curves: norms [lag] by name.

    Raises:
        ValueError: for another shape, or norms below 0.
    """
    drawn = {name: _norms(curve, "lag") for name, curve in _named(curves)}
    figure, axes = _axes("lag $k$ (steps)", r"$\Vert\partial L/\partial s_{T-k}\Vert$")
    axes.set_yscale("log")
    marks = {"x": ("not finite", lambda y: ~np.isfinite(y)), "v": ("0", lambda y: y == 0)}
    _lines(axes, drawn, lambda curve: np.arange(len(curve)), marks, first=True)
    return figure


def eigenvalues(matrices: Mapping[str, Any]) -> Figure:
    """The eigenvalues of matrices, recurrent weights or Jacobians, beside the unit circle.

    Args:
        matrices: [n, n] by name.

    Raises:
        ValueError: for another shape, or entries that are not finite.
    """
    drawn = {name: _array(matrix, "n", "n") for name, matrix in _named(matrices)}
    for name, matrix in drawn.items():
        if matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
            raise bad_input(
                f"{name!r} has shape {matrix.shape}, {np.isfinite(matrix).sum()} entries finite.",
                "a square matrix, finite everywhere.",
                "take one recurrent matrix or one Jacobian, of a step before it overflows.",
            )
    figure, axes = _axes("real part", "imaginary part")
    turn = np.linspace(0, 2 * np.pi, 361)
    axes.plot(np.cos(turn), np.sin(turn), label="unit circle", **GUIDE)
    for (name, matrix), style in zip(drawn.items(), _styles(drawn), strict=True):
        found = np.linalg.eigvals(matrix)
        axes.plot(found.real, found.imag, ".", ms=4, color=style["color"], label=name)
    axes.set_aspect("equal")
    _legend(axes, {})
    return figure


def exponents(spectra: Mapping[str, Any], *, size: int | None = None) -> Figure:
    """Lyapunov exponents, in the order given, against i/n; a triangle where one is −∞, a cross
    where one is not a number.

    Args:
        spectra: exponents [k] by name, in nats per step.
        size: n, the entries of the state, where k are the leading ones only; else all are given.

    Raises:
        ValueError: for another shape, or more exponents than `size`.
    """
    drawn = {name: _array(found, "k") for name, found in _named(spectra)}
    most = max(map(len, drawn.values()))
    if size is not None and size < most:
        raise bad_input(
            f"{most} exponents of a state of {size} entries.",
            "at most as many exponents as entries.",
            "leave size out where all exponents are given.",
        )
    figure, axes = _axes("$i/n$", "Lyapunov exponent (nats per step)")
    axes.axhline(0, **GUIDE)
    marks = {"v": ("−∞", np.isneginf), "x": ("not a number", lambda y: ~(y < np.inf))}
    _lines(axes, drawn, lambda y: np.arange(1, 1 + len(y)) / (size or len(y)), marks)
    return figure


def horizon_history(histories: Mapping[str, Any], *, every: int = 1) -> Figure:
    """A horizon over training; a triangle where the curve does not fall far enough to have one, a
    cross where the curve was not finite, which is how `horizons` tells them: inf and NaN.

    Args:
        histories: horizons [training step] by name, in steps.
        every: training steps from one value to the next.

    Raises:
        ValueError: for another shape.
    """
    drawn = {name: _array(history, "training step") for name, history in _named(histories)}
    figure, axes = _axes("training step", "horizon (steps)")
    marks = {"^": ("beyond the curve", np.isinf), "x": ("not finite", np.isnan)}
    _lines(axes, drawn, lambda history: np.arange(len(history)) * every, marks)
    return figure


def window_bias(found: Recommendation | Mapping[str, Recommendation], *, bias: float) -> Figure:
    """Relative bias of truncated gradients against the window: mean and 2 standard errors over the
    batches. Dotted: the recommended window. Grey: what was allowed. A bias of 0, which a logarithm
    does not show, is a triangle.

    Args:
        found: what `recommend_window` returned, or several of these by name.
        bias: what was allowed.

    Raises:
        ValueError: where it is something else.
    """
    drawn = {"window": found} if isinstance(found, Recommendation) else dict(_named(found))
    if not all(isinstance(one, Recommendation) for one in drawn.values()):
        raise bad_input(
            f"{', '.join(type(one).__name__ for one in drawn.values())} to draw.",
            "a Recommendation, or several by name.",
            "pass what gradients.recommend_window returned.",
        )
    figure, axes = _axes("window (steps)", r"$\Vert g' - g\Vert\,/\,\Vert g\Vert$")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.axhline(bias, label=f"allowed: {bias:g}", **GUIDE)
    marks = {}
    for (name, one), style in zip(drawn.items(), _styles(drawn), strict=True):
        mean = one.relative.mean(1)
        some = mean > 0
        style |= {"marker": ".", "capsize": 2, "label": f"{name}: {one.window}"}
        axes.errorbar(one.windows[some], mean[some], (one.bound - mean)[some], **style)
        axes.axvline(one.window, color=style["color"], lw=0.8, ls=":")
        if not some.all():
            _mark(axes, one.windows[~some], "v", style["color"])
            marks["v"] = "0"
    _legend(axes, marks)
    return figure


def _axes(x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _lines(
    axes: Axes,
    named: Mapping[str, np.ndarray],
    place: Callable[[np.ndarray], np.ndarray],
    marks: Mapping[str, tuple[str, Callable[[np.ndarray], np.ndarray]]],
    *,
    first: bool = False,
) -> None:
    """A line per name, and markers instead of what cannot be drawn, all or the first of it."""
    met = {}
    for (name, values), style in zip(named.items(), _styles(named), strict=True):
        x, shown = place(values), values.copy()
        for marker, (text, test) in marks.items():
            where = np.flatnonzero(test(values))
            shown[where] = np.nan
            if where.size:
                _mark(axes, x[where[:1] if first else where], marker, style["color"])
                met[marker] = text
        dots = {"marker": ".", "ms": 3} if len(x) < FEW else {}
        axes.plot(x, shown, label=name, **style, **dots)
    _legend(axes, met)


def _mark(axes: Axes, x: np.ndarray, marker: str, color: str) -> None:
    """Markers at an edge, whatever the values: downward ones at the lower, others at the upper."""
    edge, where = np.full(len(x), 0 if marker == "v" else 1), axes.get_xaxis_transform()
    axes.plot(x, edge, marker, ms=5, color=color, transform=where, clip_on=False)


def _legend(axes: Axes, marks: Mapping[str, str]) -> None:
    """Above the axes, where it covers nothing: what is labelled, then what the marks mean."""
    handles, _ = axes.get_legend_handles_labels()
    handles += [
        Line2D([], [], color="0.3", ls="", ms=5, marker=marker, label=text)
        for marker, text in marks.items()
    ]
    columns = {"ncols": min(3, len(handles)), "handlelength": 1.5, "columnspacing": 1.2}
    where = {"loc": "outside upper center", "frameon": False, "fontsize": "small"}
    axes.figure.legend(handles=handles, **where, **columns)


def _styles(named: Mapping[str, Any]) -> list[dict[str, Any]]:
    count = len(COLOURS)
    return [
        {"color": COLOURS[place % count], "ls": DASHES[place // count % len(DASHES)]}
        for place in range(len(named))
    ]


def _named(named: Mapping[str, Any]) -> Any:
    if not isinstance(named, Mapping) or not named:
        raise bad_input(
            f"a {type(named).__name__} without names to draw.",
            "a dict from names to what is drawn under them, with at least one entry.",
            'pass {"LSTM": curve}.',
        )
    return named.items()


def _array(values: Any, *axes: str) -> np.ndarray:
    try:
        array = np.asarray(values).astype(float, casting="same_kind")
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != len(axes) or not array.size:
        raise bad_input(
            f"{type(values).__name__} of shape {np.shape(array)} to draw.",
            f"real numbers [{', '.join(axes)}], at least one.",
            "take one example, or the mean or median over the batch.",
        )
    return array


def _norms(values: Any, *axes: str) -> np.ndarray:
    array = _array(values, *axes)
    if (array < 0).any():
        raise bad_input(
            f"norms [{', '.join(axes)}] as small as {np.nanmin(array):.3g}.",
            "norms, which are at least 0.",
            "pass the norms themselves: their logarithm is taken here.",
        )
    return array
