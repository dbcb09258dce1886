"""Spectra: eigenvalues of matrices, and Lyapunov exponents."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..._core.errors import bad_input
from ._arrays import named_arrays, real_array
from ._figure import GUIDE_STYLE, Marker, add_legend, line_styles, new_figure, plot_lines
from ._matplotlib import Figure

MARKERS = {
    "v": Marker("−∞", np.isneginf),
    "x": Marker("not a number", lambda y: ~(y < np.inf)),
}


def eigenvalues(matrices: Mapping[str, Any]) -> Figure:
    """The eigenvalues of matrices, such as recurrent weights or Jacobians, and the unit circle.

    Args:
        matrices: [n, n] by name.

    Raises:
        ValueError: for another shape, or entries that are not finite.
    """
    arrays = named_arrays(matrices, real_array, "n", "n")
    for name, matrix in arrays.items():
        if matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
            raise bad_input(
                f"{name!r} of shape {matrix.shape}, with {(~np.isfinite(matrix)).sum()} entries "
                "that are not finite.",
                "a square matrix of finite numbers.",
                "pass one recurrent matrix, or one Jacobian of a step before it overflows.",
            )
    figure, axes = new_figure("real part", "imaginary part")
    angles = np.linspace(0, 2 * np.pi, 361)
    axes.plot(np.cos(angles), np.sin(angles), label="unit circle", **GUIDE_STYLE)
    for (name, matrix), style in zip(arrays.items(), line_styles(arrays), strict=True):
        spectrum = np.linalg.eigvals(matrix)
        axes.plot(spectrum.real, spectrum.imag, ".", ms=4, color=style["color"], label=name)
    axes.set_aspect("equal")
    add_legend(axes, {})
    return figure


def exponents(spectra: Mapping[str, Any], *, size: int | None = None) -> Figure:
    """Lyapunov exponents, in the given order, against i/n. A triangle marks −∞, a cross NaN.

    Args:
        spectra: exponents [k] by name, in nats per step.
        size: n, the entries of the state, where only the k leading exponents are given; None says
            that all n are given.

    Raises:
        ValueError: for another shape, or more exponents than `size`.
    """
    arrays = named_arrays(spectra, real_array, "k")
    longest = max(map(len, arrays.values()))
    if size is not None and size < longest:
        raise bad_input(
            f"{longest} exponents of a state of {size} entries.",
            "at most as many exponents as entries.",
            "leave size out where all exponents are given.",
        )
    figure, axes = new_figure("$i/n$", "Lyapunov exponent (nats per step)")
    axes.axhline(0, **GUIDE_STYLE)
    plot_lines(axes, arrays, lambda y: np.arange(1, 1 + len(y)) / (size or len(y)), MARKERS)
    return figure
