"""Pictures show the numbers they are given, and what is not finite too."""

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="no matplotlib here to draw with")

from seqmem.gradients import Recommendation, pictures


def saved(figure, tmp_path):
    path = tmp_path / "picture.png"
    figure.savefig(path)
    return path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def lines(figure):
    return {line.get_label(): line for line in figure.axes[0].lines}


def test_curves_are_drawn_as_given_and_crossed_where_not_finite(tmp_path):
    curve = np.array([1.0, 10.0, np.inf, np.nan])
    figure = pictures.lag_curves({"RNN": curve, "LSTM": [3.0, 2.0, 1.0, 0.0]})
    np.testing.assert_array_equal(lines(figure)["RNN"].get_ydata(), [1, 10, np.nan, np.nan])
    np.testing.assert_array_equal(lines(figure)["LSTM"].get_ydata(), [3, 2, 1, np.nan])
    (cross,) = (line for line in figure.axes[0].lines if line.get_marker() == "x")
    np.testing.assert_array_equal(cross.get_xdata(), [2])
    assert saved(figure, tmp_path)


def test_a_history_shows_every_step_and_lag(tmp_path):
    norms = np.array([[1.0, 0.1, 0.0], [2.0, np.inf, 3.0]])
    figure = pictures.flow_history(norms, every=10)
    shown, zeros, infinite = (image.get_array() for image in figure.axes[0].images)
    np.testing.assert_array_equal(shown.mask.T, [[0, 0, 1], [0, 1, 0]])
    np.testing.assert_array_equal(shown.filled(-1).T, [[1, 0.1, -1], [2, -1, 3]])
    np.testing.assert_array_equal(~zeros.mask.T, norms == 0)
    np.testing.assert_array_equal(~infinite.mask.T, np.isinf(norms))
    assert figure.axes[0].images[0].get_extent()[1] == 20
    assert saved(figure, tmp_path)


def test_eigenvalues_stand_beside_the_unit_circle(tmp_path):
    figure = pictures.eigenvalues({"a rotation": [[0.0, -1.0], [1.0, 0.0]]})
    drawn = lines(figure)["a rotation"]
    np.testing.assert_allclose(sorted(drawn.get_ydata()), [-1, 1])
    np.testing.assert_allclose(drawn.get_xdata(), 0, atol=1e-12)
    assert saved(figure, tmp_path)


def test_exponents_and_horizons_are_drawn_in_order(tmp_path):
    spectrum = pictures.exponents({"GRU": [0.5, -1.0]})
    np.testing.assert_array_equal(lines(spectrum)["GRU"].get_ydata(), [0.5, -1])
    history = pictures.horizon_history({"GRU": [1.0, np.inf, 3.0]}, every=5)
    np.testing.assert_array_equal(lines(history)["GRU"].get_ydata(), [1, np.nan, 3])
    np.testing.assert_array_equal(lines(history)["GRU"].get_xdata(), [0, 5, 10])
    assert saved(spectrum, tmp_path)
    assert saved(history, tmp_path)


def test_bias_of_windows_names_the_one_that_is_recommended(tmp_path):
    found = Recommendation(
        4, np.array([2, 4, 8]), np.array([[0.5, 0.7], [0.1, 0.1], [0, 0]]), np.ones((3, 2))
    )
    figure = pictures.window_bias({"LSTM": found}, bias=0.2)
    (labelled,) = (text.get_text() for text in figure.axes[0].get_legend().get_texts())
    assert labelled == "LSTM: 4"
    assert saved(figure, tmp_path)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: pictures.flow_history(np.ones(3)),
        lambda: pictures.lag_curves({"a": np.ones((3, 2))}),
        lambda: pictures.exponents({"a": []}),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw):
    with pytest.raises(ValueError, match=r"(?s)Expected: .*What to do: "):
        draw()
