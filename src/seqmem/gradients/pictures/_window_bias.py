"""The bias of truncated gradients against the window."""

from collections.abc import Mapping

from ..._core.errors import bad_input
from .._recommend_window import Recommendation
from ._arrays import check_named
from ._figure import GUIDE_STYLE, add_legend, line_styles, mark_edge, new_figure
from ._matplotlib import Axes, Figure, NullFormatter, StrMethodFormatter


def window_bias(
    recommendations: Recommendation | Mapping[str, Recommendation], *, bias: float
) -> Figure:
    """The relative bias of truncated gradients against the window: mean and 2 standard errors over
    the batches. A dotted line is the recommended window, a grey line the allowed bias. A triangle
    marks a bias of 0, which a logarithmic axis cannot show.

    Args:
        recommendations: a result of `recommend_window`, or several of them by name.
        bias: the allowed bias.

    Raises:
        ValueError: for anything but recommendations.
    """
    named: Mapping[str, Recommendation]
    is_single = isinstance(recommendations, Recommendation)
    named = {"window": recommendations} if is_single else recommendations
    check_named(named)
    if not all(isinstance(value, Recommendation) for value in named.values()):
        raise bad_input(
            f"{', '.join(type(value).__name__ for value in named.values())} to plot.",
            "a Recommendation, or several by name.",
            "pass the result of gradients.recommend_window.",
        )
    figure, axes = new_figure("window (steps)", r"$\Vert g' - g\Vert\,/\,\Vert g\Vert$")
    _set_log_scales(axes)
    axes.axhline(bias, label=f"allowed: {bias:g}", **GUIDE_STYLE)
    marker_labels = {}
    for (name, one), style in zip(named.items(), line_styles(named), strict=True):
        mean = one.relative.mean(1)
        is_positive = mean > 0
        axes.errorbar(
            one.windows[is_positive],
            mean[is_positive],
            (one.bound - mean)[is_positive],
            marker=".",
            capsize=2,
            label=f"{name}: {one.window}",
            **style,
        )
        axes.axvline(one.window, color=style["color"], lw=0.8, ls=":")
        if not is_positive.all():
            mark_edge(axes, one.windows[~is_positive], "v", style["color"])
            marker_labels["v"] = "0"
    add_legend(axes, marker_labels)
    return figure


def _set_log_scales(axes: Axes) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
