"""Figures show the numbers that they are given, and mark those that are not finite."""

import importlib
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from seqmem.dynamics import Linearisation, PrincipalComponents
from seqmem.gradients import Recommendation, pictures

INF, NAN = np.inf, np.nan
RECOMMENDATION = Recommendation(
    4, np.array([2, 4, 8]), np.array([[0.5, 0.7], [0.1, 0.1], [0, 0]]), np.ones((3, 2))
)
MEAN = np.array([1.0, 0, 0, 0])
AXES = PrincipalComponents(MEAN, np.eye(4)[:3], np.array([4.0, 2, 1]), np.array(8.0))
PLANE = AXES._replace(directions=np.eye(4)[:2], variances=AXES.variances[:2])
ROTATION = np.array([[0.0, -2, 0, 0], [2, 0, 0, 0], [0, 0, 0.5, 0], [0, 0, 0, 0.5]])
POINTS = np.array([[1.0, 0, 0, 0], [3, 1, 0, 0], [2, 2, 2, 2]])


def modes_of(*jacobians):
    values, R = np.linalg.eig(np.array(jacobians) + 0j)
    return Linearisation(np.array(jacobians), values, R, np.linalg.inv(R))


MODES = modes_of(0.5 * np.eye(4), np.diag([2.0, 0.5, 0.5, 0.5]), ROTATION)


def lines(figure):
    return {line.get_label(): line for line in figure.axes[0].lines}


def edge_markers(figure):
    """The x coordinates of the markers at an edge, by marker and edge."""
    axes = figure.axes[0]
    return {
        (line.get_marker(), int(line.get_ydata()[0])): line.get_xdata().tolist()
        for line in axes.lines
        if line.get_transform() == axes.get_xaxis_transform() and line.get_marker() != "None"
    }


def legend_texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.slow
def test_figures_are_saved_without_a_warning(tmp_path):
    figures = [
        pictures.flow_history(np.array([[1.0, 0.0], [NAN, 1e-40]])),
        pictures.flow_history(np.full((2, 3), INF)),
        pictures.flow_history(np.full((1, 1), 2.0)),
        pictures.lag_curves({"inf": [INF, INF], "zero": [0.0, 0.0], "one": [1.0]}),
        pictures.eigenvalues({"one": [[2.0]]}),
        pictures.exponents({"one": [-INF]}),
        pictures.horizon_history({"no horizon": [INF, NAN]}),
        pictures.window_bias(RECOMMENDATION, bias=0.2),
        pictures.phase_portrait(PLANE, np.ones((1, 4))),
        pictures.phase_portrait(AXES, np.full((2, 4), NAN), POINTS, MODES),
    ]
    for figure in figures:
        for name in ("picture.png", "picture.pdf"):
            figure.savefig(tmp_path / name)
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_lag_curves_are_marked_where_they_are_zero_or_not_finite():
    figure = pictures.lag_curves({"RNN": [1.0, 10.0, INF, NAN], "LSTM": [3.0, 0.0, 1.0, 0.0]})
    np.testing.assert_array_equal(lines(figure)["RNN"].get_ydata(), [1, 10, NAN, NAN])
    np.testing.assert_array_equal(lines(figure)["LSTM"].get_ydata(), [3, NAN, 1, NAN])
    assert edge_markers(figure) == {("x", 1): [2], ("v", 0): [1]}
    assert legend_texts(figure) == ["RNN", "LSTM", "not finite", "0"]
    assert legend_texts(pictures.lag_curves({"GRU": [2.0, 1.0]})) == ["GRU"]


def test_flow_history_shows_every_step_and_lag():
    norms = np.array([[1.0, 0.1, 0.0], [2.0, INF, 3.0]])
    figure = pictures.flow_history(norms, every=10)
    positive, zero, not_finite = (image.get_array() for image in figure.axes[0].images)
    np.testing.assert_array_equal(positive.mask.T, [[0, 0, 1], [0, 1, 0]])
    np.testing.assert_array_equal(positive.filled(-1).T, [[1, 0.1, -1], [2, -1, 3]])
    np.testing.assert_array_equal(~zero.mask.T, norms == 0)
    np.testing.assert_array_equal(~not_finite.mask.T, np.isinf(norms))
    assert figure.axes[0].images[0].get_extent() == [0, 20, -0.5, 2.5]
    assert legend_texts(figure) == ["0", "not finite"]
    assert not pictures.flow_history(np.ones((2, 3))).legends


def test_flow_history_marks_a_single_step_that_is_not_finite():
    norms = np.ones((5000, 4))
    norms[1234, 2] = NAN
    assert edge_markers(pictures.flow_history(norms)) == {("|", 1): [1234.5]}


def test_eigenvalues_are_plotted_with_the_unit_circle():
    figure = pictures.eigenvalues({"rotation": [[0.0, -1.0], [1.0, 0.0]]})
    spectrum, circle = lines(figure)["rotation"], lines(figure)["unit circle"]
    np.testing.assert_allclose(sorted(spectrum.get_ydata()), [-1, 1])
    np.testing.assert_allclose(spectrum.get_xdata(), 0, atol=1e-12)
    np.testing.assert_allclose(np.hypot(circle.get_xdata(), circle.get_ydata()), 1)


def test_exponents_are_plotted_against_their_share_of_the_state():
    figure = pictures.exponents({"GRU": [0.5, -1.0], "LSTM": [NAN, -1.0, -2.0, -INF]})
    np.testing.assert_array_equal(lines(figure)["GRU"].get_xdata(), [0.5, 1])
    np.testing.assert_array_equal(lines(figure)["GRU"].get_ydata(), [0.5, -1])
    np.testing.assert_array_equal(lines(figure)["LSTM"].get_ydata(), [NAN, -1, -2, NAN])
    assert edge_markers(figure) == {("x", 1): [0.25], ("v", 0): [1]}
    leading = pictures.exponents({"GRU": [0.5, -1.0]}, size=8)
    np.testing.assert_array_equal(lines(leading)["GRU"].get_xdata(), [1 / 8, 2 / 8])


def test_horizon_history_distinguishes_inf_from_nan():
    figure = pictures.horizon_history({"GRU": [1.0, INF, 3.0, NAN]}, every=5)
    np.testing.assert_array_equal(lines(figure)["GRU"].get_ydata(), [1, NAN, 3, NAN])
    np.testing.assert_array_equal(lines(figure)["GRU"].get_xdata(), [0, 5, 10, 15])
    assert edge_markers(figure) == {("^", 1): [5], ("x", 1): [15]}
    assert legend_texts(figure) == ["GRU", "beyond the curve", "not finite"]


def test_window_bias_shows_errors_and_the_allowed_and_recommended_values():
    figure = pictures.window_bias({"LSTM": RECOMMENDATION}, bias=0.2)
    assert legend_texts(figure) == ["allowed: 0.2", "LSTM: 4", "0"]
    line, _, (bars,) = figure.axes[0].containers[0].lines
    np.testing.assert_allclose(line.get_xydata(), [[2, 0.6], [4, 0.1]])
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    np.testing.assert_allclose(ends, [[0.4, 0.8], [0.1, 0.1]])  # the standard error is 0.1
    assert lines(figure)["allowed: 0.2"].get_ydata() == [0.2, 0.2]
    assert any(line.get_xdata() == [4, 4] for line in figure.axes[0].lines[-2:])
    assert edge_markers(figure) == {("v", 0): [8]}
    assert "window: 4" in legend_texts(pictures.window_bias(RECOMMENDATION, bias=0.2))


@pytest.mark.parametrize("components", [PLANE, AXES])
def test_phase_portrait_shows_points_by_kind_and_their_unstable_modes(components):
    trajectories = np.zeros((3, 2, 4))
    trajectories[:, 1, 0] = [1, 3, 11]
    dimensions = len(components.directions)
    figure = pictures.phase_portrait(components, trajectories, POINTS, MODES)
    assert legend_texts(figure) == ["trajectories", "unstable modes", "stable", "saddle"]

    def places(line):
        data = line.get_data_3d() if dimensions == 3 else line.get_data()
        return np.stack(data, 1)

    drawn = figure.axes[0].lines
    path = places(lines(figure)["trajectories"])
    np.testing.assert_array_equal(path[:3], -np.eye(3, dimensions)[[0, 0, 0]])
    np.testing.assert_array_equal(path[4:7, 0], [0, 2, 10])
    assert np.isnan(path[[3, 7]]).all()
    np.testing.assert_array_equal(places(lines(figure)["stable"]), np.zeros((1, dimensions)))
    saddles = (POINTS[1:] - MEAN)[:, :dimensions]
    np.testing.assert_array_equal(places(lines(figure)["saddle"]), saddles)
    modes = [
        places(line) for line in drawn if line.get_xydata().shape[0] == 2 and line.get_ls() == "-"
    ]
    assert len(modes) == 3  # one of the saddle, two of the rotation
    for mode, middle in zip(modes, saddles[[0, 1, 1]], strict=True):
        np.testing.assert_allclose(mode.mean(0), middle)
        np.testing.assert_allclose(np.linalg.norm(mode[1] - middle), 0.08 * 11)
    assert figure.axes[0].get_xlabel() == "PC 1 (50%)"


def test_more_lines_than_colours_have_different_dashes():
    figure = pictures.lag_curves({str(index): [1.0, 2.0] for index in range(9)})
    styles = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(styles) == 9


@pytest.mark.parametrize(
    "plot",
    [
        lambda: pictures.flow_history(np.ones(3)),
        lambda: pictures.flow_history(-np.ones((2, 3))),
        lambda: pictures.lag_curves({"a": np.ones((3, 2))}),
        lambda: pictures.lag_curves({"a": [0.0, -3.0]}),
        lambda: pictures.lag_curves({"a": ["one", "two"]}),
        lambda: pictures.lag_curves({"a": np.ones(3, complex)}),
        lambda: pictures.lag_curves(np.ones(3)),
        lambda: pictures.lag_curves({}),
        lambda: pictures.eigenvalues({"a": np.ones((2, 3))}),
        lambda: pictures.eigenvalues({"a": [[1.0, NAN], [0.0, 1.0]]}),
        lambda: pictures.exponents({"a": []}),
        lambda: pictures.exponents({"a": [1.0, 0.0]}, size=1),
        lambda: pictures.horizon_history({"a": 3.0}),
        lambda: pictures.window_bias({"a": np.ones(3)}, bias=0.1),
        lambda: pictures.window_bias({}, bias=0.1),
        lambda: pictures.phase_portrait(AXES._replace(directions=np.eye(4)), np.ones((2, 4))),
        lambda: pictures.phase_portrait(AXES, np.ones((2, 5))),
        lambda: pictures.phase_portrait(AXES, np.ones(4)),
        lambda: pictures.phase_portrait(AXES, np.ones((2, 4)), POINTS),
        lambda: pictures.phase_portrait(AXES, np.ones((2, 4)), None, MODES),
        lambda: pictures.phase_portrait(AXES, np.ones((2, 4)), POINTS[:2], MODES),
        lambda: pictures.phase_portrait(AXES, np.ones((2, 4)), POINTS[:, :3], MODES),
    ],
)
def test_values_that_cannot_be_plotted_are_refused(plot):
    with pytest.raises(ValueError, match=r"(?s)Expected: .*What to do: "):
        plot()


def test_pictures_without_matplotlib_name_the_extra(monkeypatch):
    for name in [module for module in sys.modules if module.startswith(pictures.__name__)]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("matplotlib", "matplotlib.axes"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'seqmem\[plot\]'"):
        importlib.import_module(pictures.__name__)


@pytest.mark.slow
def test_matplotlib_is_imported_by_pictures_alone_and_pyplot_by_nothing():
    code = "import sys, seqmem.gradients; assert 'matplotlib' not in sys.modules; "
    code += "import seqmem.gradients.pictures; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
