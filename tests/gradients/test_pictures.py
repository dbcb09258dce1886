"""Pictures show the numbers they are given, and what is not finite too."""

import importlib
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="no matplotlib here to draw with")

from seqmem.gradients import Recommendation, pictures

INF, NAN = np.inf, np.nan
FOUND = Recommendation(
    4, np.array([2, 4, 8]), np.array([[0.5, 0.7], [0.1, 0.1], [0, 0]]), np.ones((3, 2))
)


def lines(figure):
    return {line.get_label(): line for line in figure.axes[0].lines}


def marks(figure):
    """Where markers stand at an edge, by marker and edge."""
    axes = figure.axes[0]
    return {
        (line.get_marker(), int(line.get_ydata()[0])): line.get_xdata().tolist()
        for line in axes.lines
        if line.get_transform() == axes.get_xaxis_transform() and line.get_marker() != "None"
    }


def words(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_every_picture_becomes_a_file_without_a_warning(tmp_path):
    figures = [
        pictures.flow_history(np.array([[1.0, 0.0], [NAN, 1e-40]])),
        pictures.flow_history(np.full((2, 3), INF)),
        pictures.flow_history(np.full((1, 1), 2.0)),
        pictures.lag_curves({"all lost": [INF, INF], "all gone": [0.0, 0.0], "one": [1.0]}),
        pictures.eigenvalues({"one": [[2.0]]}),
        pictures.exponents({"one": [-INF]}),
        pictures.horizon_history({"none": [INF, NAN]}),
        pictures.window_bias(FOUND, bias=0.2),
    ]
    for figure in figures:
        for name in ("picture.png", "picture.pdf"):
            figure.savefig(tmp_path / name)
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_curves_are_drawn_as_given_and_crossed_where_not_finite():
    figure = pictures.lag_curves({"RNN": [1.0, 10.0, INF, NAN], "LSTM": [3.0, 0.0, 1.0, 0.0]})
    np.testing.assert_array_equal(lines(figure)["RNN"].get_ydata(), [1, 10, NAN, NAN])
    np.testing.assert_array_equal(lines(figure)["LSTM"].get_ydata(), [3, NAN, 1, NAN])
    assert marks(figure) == {("x", 1): [2], ("v", 0): [1]}
    assert words(figure) == ["RNN", "LSTM", "not finite", "0"]
    assert words(pictures.lag_curves({"GRU": [2.0, 1.0]})) == ["GRU"]


def test_a_history_shows_every_step_and_lag():
    norms = np.array([[1.0, 0.1, 0.0], [2.0, INF, 3.0]])
    figure = pictures.flow_history(norms, every=10)
    shown, zeros, lost = (image.get_array() for image in figure.axes[0].images)
    np.testing.assert_array_equal(shown.mask.T, [[0, 0, 1], [0, 1, 0]])
    np.testing.assert_array_equal(shown.filled(-1).T, [[1, 0.1, -1], [2, -1, 3]])
    np.testing.assert_array_equal(~zeros.mask.T, norms == 0)
    np.testing.assert_array_equal(~lost.mask.T, np.isinf(norms))
    assert figure.axes[0].images[0].get_extent() == [0, 20, -0.5, 2.5]
    assert words(figure) == ["0", "not finite"]
    assert not pictures.flow_history(np.ones((2, 3))).legends


def test_one_lost_step_among_thousands_is_seen():
    norms = np.ones((5000, 4))
    norms[1234, 2] = NAN
    assert marks(pictures.flow_history(norms)) == {("|", 1): [1234.5]}


def test_eigenvalues_stand_beside_the_unit_circle():
    figure = pictures.eigenvalues({"a rotation": [[0.0, -1.0], [1.0, 0.0]]})
    drawn, circle = lines(figure)["a rotation"], lines(figure)["unit circle"]
    np.testing.assert_allclose(sorted(drawn.get_ydata()), [-1, 1])
    np.testing.assert_allclose(drawn.get_xdata(), 0, atol=1e-12)
    np.testing.assert_allclose(np.hypot(circle.get_xdata(), circle.get_ydata()), 1)


def test_exponents_are_drawn_against_their_share_of_the_state():
    figure = pictures.exponents({"GRU": [0.5, -1.0], "LSTM": [NAN, -1.0, -2.0, -INF]})
    np.testing.assert_array_equal(lines(figure)["GRU"].get_xdata(), [0.5, 1])
    np.testing.assert_array_equal(lines(figure)["GRU"].get_ydata(), [0.5, -1])
    np.testing.assert_array_equal(lines(figure)["LSTM"].get_ydata(), [NAN, -1, -2, NAN])
    assert marks(figure) == {("x", 1): [0.25], ("v", 0): [1]}
    leading = pictures.exponents({"GRU": [0.5, -1.0]}, size=8)
    np.testing.assert_array_equal(lines(leading)["GRU"].get_xdata(), [1 / 8, 2 / 8])


def test_a_horizon_that_is_none_is_told_from_one_that_is_lost():
    figure = pictures.horizon_history({"GRU": [1.0, INF, 3.0, NAN]}, every=5)
    np.testing.assert_array_equal(lines(figure)["GRU"].get_ydata(), [1, NAN, 3, NAN])
    np.testing.assert_array_equal(lines(figure)["GRU"].get_xdata(), [0, 5, 10, 15])
    assert marks(figure) == {("^", 1): [5], ("x", 1): [15]}
    assert words(figure) == ["GRU", "beyond the curve", "not finite"]


def test_bias_of_windows_is_drawn_beside_what_was_allowed_and_recommended():
    figure = pictures.window_bias({"LSTM": FOUND}, bias=0.2)
    assert words(figure) == ["allowed: 0.2", "LSTM: 4", "0"]
    line, _, (bars,) = figure.axes[0].containers[0].lines
    np.testing.assert_allclose(line.get_xydata(), [[2, 0.6], [4, 0.1]])
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    np.testing.assert_allclose(ends, [[0.4, 0.8], [0.1, 0.1]])  # the standard error is 0.1
    assert lines(figure)["allowed: 0.2"].get_ydata() == [0.2, 0.2]
    assert any(line.get_xdata() == [4, 4] for line in figure.axes[0].lines[-2:])
    assert marks(figure) == {("v", 0): [8]}
    assert "window: 4" in words(pictures.window_bias(FOUND, bias=0.2))


def test_more_names_than_colours_are_told_apart_by_dashes():
    figure = pictures.lag_curves({str(place): [1.0, 2.0] for place in range(9)})
    styles = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(styles) == 9


@pytest.mark.parametrize(
    "draw",
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
    ],
)
def test_what_cannot_be_drawn_is_refused(draw):
    with pytest.raises(ValueError, match=r"(?s)Expected: .*What to do: "):
        draw()


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    for name in ("matplotlib", "matplotlib.axes"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, pictures.__name__)
    with pytest.raises(ImportError, match=r"pip install 'seqmem\[plot\]'"):
        importlib.import_module(pictures.__name__)


def test_matplotlib_is_not_imported_with_the_gradients_nor_pyplot_with_the_pictures():
    code = "import sys, seqmem.gradients; assert 'matplotlib' not in sys.modules; "
    code += "import seqmem.gradients.pictures; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
