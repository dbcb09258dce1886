"""Trajectories in the plane or space of their principal components, with fixed points and modes."""

from typing import Any

import numpy as np

from ..._core.errors import bad_input
from ...dynamics import Linearisation, PrincipalComponents
from ._arrays import real_array
from ._figure import COLOURS, SIZE, add_legend, new_figure
from ._matplotlib import Figure

STYLES: dict[str, Any] = {
    "stable": {"color": COLOURS[6], "marker": "o", "ms": 5, "mew": 0},
    "saddle": {"color": COLOURS[1], "marker": "D", "ms": 3.5, "mew": 0},
    "unstable": {"color": COLOURS[3], "marker": "^", "ms": 5, "mew": 0},
}
MODE_LENGTH = 0.08  # of the trajectories' extent, to each side of the point


def phase_portrait(
    components: PrincipalComponents,
    trajectories: Any,
    points: Any | None = None,
    linearisation: Linearisation | None = None,
) -> Figure:
    """Trajectories of states, fixed points by kind, and the unstable modes of each point as lines
    through it; in 2-D or 3-D, as many as there are components. Of a complex mode the real and the
    imaginary part are drawn.

    Args:
        components: 2 or 3 of them, see `seqmem.dynamics.principal_components`.
        trajectories: vectors [time, *batch, n].
        points: vectors [points, n], such as `fixed_points(...).vectors`.
        linearisation: of these points, `linearise(...)`.

    Raises:
        ValueError: for another number of components, another shape, or points without their
            linearisation.
    """
    dimensions = len(components.directions)
    if dimensions not in (2, 3):
        raise bad_input(
            f"phase_portrait got {dimensions} components.",
            "2 or 3 of them.",
            "pass k=2 or k=3 to principal_components.",
        )
    size = len(components.mean)
    lines = np.asarray(trajectories)
    if lines.ndim < 2 or lines.shape[-1] != size:
        raise bad_input(
            f"phase_portrait got trajectories of shape {lines.shape}.",
            f"vectors [time, *batch, {size}].",
            "make them with state_vectors.",
        )
    lines = real_array(lines.reshape(len(lines), -1, size), "time", "batch", "n")
    figure, axes = _new_axes(components, dimensions)
    lines = _project(components, lines)
    finite = lines[np.isfinite(lines).all(-1)]
    extent = np.ptp(finite, axis=0).max() if len(finite) else 1.0
    gap = np.full((1, *lines.shape[1:]), np.nan)  # between one trajectory and the next
    lines = np.concatenate([lines, gap]).swapaxes(0, 1).reshape(-1, dimensions)
    axes.plot(*lines.T, color=COLOURS[5], lw=0.5, alpha=0.6, zorder=1, label="trajectories")
    if points is not None or linearisation is not None:
        vectors = _check_points(points, linearisation, size)
        _draw_points(axes, components, vectors, linearisation, MODE_LENGTH * extent)
    add_legend(axes, {})
    return figure


def _project(components: PrincipalComponents, vectors: np.ndarray) -> np.ndarray:
    """`components.project` in NumPy, in float64 also where JAX has it off."""
    mean, directions = (np.asarray(leaf, float) for leaf in components[:2])
    return (vectors - mean) @ directions.T


def _new_axes(components: PrincipalComponents, dimensions: int) -> tuple[Figure, Any]:
    explained = np.asarray(components.variances) / np.asarray(components.total_variance)
    shares = [f"PC {i + 1} ({share:.0%})" for i, share in enumerate(explained)]
    if dimensions == 2:
        return new_figure(*shares)
    figure = Figure(figsize=(SIZE[0], SIZE[0]), dpi=150, layout="constrained")
    axes: Any = figure.add_subplot(projection="3d")
    axes.set_box_aspect(None, zoom=0.85)  # or the label of the third axis is cut off
    axes.set(**dict(zip(("xlabel", "ylabel", "zlabel"), shares, strict=True)))
    return figure, axes


def _check_points(points: Any | None, linearisation: Linearisation | None, size: int) -> np.ndarray:
    vectors = np.asarray(points)
    count = None if linearisation is None else linearisation.eigenvalues.shape[:-1]
    if vectors.ndim != 2 or vectors.shape[-1] != size or count != (len(vectors),):
        raise bad_input(
            f"phase_portrait got points of shape {vectors.shape}, and a linearisation of {count}.",
            f"vectors [points, {size}], and the linearisation of the same points.",
            "pass points.vectors and linearise(cell, x, points.states).",
        )
    return vectors


def _draw_points(axes: Any, components, vectors: np.ndarray, linearisation, length: float) -> None:
    places = _project(components, vectors)
    directions, is_first = np.asarray(components.directions, float), True
    kinds = linearisation.kind
    for index, place in enumerate(places):
        values = linearisation.eigenvalues[index]
        modes = linearisation.right_eigenvectors[index]
        # One of each pair of conjugate modes, which span the same plane.
        modes = modes[:, (np.abs(values) > 1) & (values.imag >= 0)].T
        for mode in np.concatenate([modes.real, modes[np.abs(modes.imag).sum(1) > 0].imag]):
            ends = length * directions @ mode / np.linalg.norm(mode)
            label = "unstable modes" if is_first else None
            axes.plot(
                *np.stack([place - ends, place + ends], 1), color=COLOURS[1], lw=1, label=label
            )
            is_first = False
    for kind, style in STYLES.items():
        if (kinds == kind).any():
            axes.plot(*places[kinds == kind].T, ls="", label=kind, zorder=3, **style)
