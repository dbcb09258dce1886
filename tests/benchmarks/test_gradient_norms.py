"""The norms of the study, and the study itself at a tiny size."""

import csv
import json
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from benchmarks.common import curves
from benchmarks.studies import character_models, norms
from seqmem import gradients, models
from seqmem._core.trees import tree_norm
from tests.helpers.slow import slow

TIME, BATCH, SIZE = 11, 3, 7


@pytest.fixture
def model():
    keys = jax.random.split(jax.random.key(0))
    return models.LanguageModel(seqmem.LSTM(SIZE, 5, key=keys[0]), SIZE, key=keys[1])


@pytest.fixture
def characters():
    return np.random.default_rng(0).integers(0, SIZE, (2, TIME, BATCH))


def test_tree_norm_neither_overflows_nor_underflows():
    for scale in (1e-30, 1.0, 1e30):
        tree = [jnp.full((2, 3), 3 * scale), jnp.full((2, 1, 3), 4 * scale)]
        np.testing.assert_allclose(
            tree_norm(tree, 1), np.full(2, 5 * scale * math.sqrt(3)), rtol=1e-6
        )
    assert tree_norm([jnp.zeros(3)]) == 0


def test_tree_norm_is_not_finite_where_an_entry_is_not():
    assert tree_norm([jnp.array([1.0, jnp.inf])]) == math.inf
    assert math.isnan(tree_norm([jnp.array([1.0, jnp.nan])]))


@pytest.mark.slow
def test_state_gradients_are_those_of_the_last_loss(model, characters):
    """At lag 0 only the readout is between: ∂L_T/∂h_T = Vᵀ (p − onehot)."""
    by_lag = jax.jit(norms.state_gradients)(model, *characters)
    _, logits = seqmem.unroll(model, None, characters[0])
    error = jax.nn.softmax(logits[-1]) - jax.nn.one_hot(characters[1][-1], SIZE)
    expected = jnp.linalg.norm(error @ model.V, axis=-1)
    np.testing.assert_allclose(by_lag["h"][0], expected, rtol=1e-5)
    np.testing.assert_allclose(by_lag["state"][0], expected, rtol=1e-5)  # c_T is not read
    assert by_lag["state"].shape == (TIME, BATCH)
    assert (by_lag["state"][1:] > by_lag["h"][1:]).all()


@pytest.mark.slow
def test_parameter_gradients_are_those_of_each_length(model, characters):
    lengths = (5, TIME)
    results = jax.jit(norms.parameter_gradients, static_argnums=3)(model, *characters, lengths)
    for length, loss, norm in zip(lengths, *results, strict=True):

        def loss_of_length(model, length=length):
            _, logits = seqmem.unroll(model, None, characters[0, :length])
            return models.token_losses(logits, characters[1, :length]).mean()

        value, gradient = jax.jit(jax.value_and_grad(loss_of_length))(model)
        np.testing.assert_allclose(loss, value, rtol=1e-5)
        np.testing.assert_allclose(norm, tree_norm(gradient), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_prediction_changes_agree_with_a_finite_difference(model, characters):
    direction = gradients.random_direction(jax.random.key(1), model.body)
    np.testing.assert_allclose(tree_norm(direction), 1, rtol=1e-12)
    changes = jax.jit(norms.prediction_changes)(model, characters[0], direction)
    differences = jax.jit(norms.prediction_differences)(model, characters[0], direction, 1e-5)
    assert changes.shape == (TIME, BATCH)
    np.testing.assert_allclose(changes, differences, rtol=1e-6)


def test_curve_rows_count_values_that_are_not_finite():
    values = [[1.0, 2.0, 3.0], [1.0, math.inf, 3.0], [math.nan, math.inf, 3.0], [0.0, 0.0, 0.0]]
    labels = {"measure": "lag", "cell": "RNN", "weights": "initial", "of": "state"}
    rows = list(curves.curve_rows(range(4), np.array(values), **labels))
    assert [row["median"] for row in rows] == [2, 3, math.inf, 0]
    assert [row["not_finite"] for row in rows] == [0, 1, 2, 0]
    assert [row["zero"] for row in rows] == [0, 0, 0, 3]
    assert curves.nonfinite_notes(rows) == [
        "Not finite: lag, RNN, initial, state: 3 of 12, from 1 on"
    ]


@pytest.fixture
def study():
    pytest.importorskip("matplotlib")
    pytest.importorskip("tqdm")
    from benchmarks.studies import gradient_norms

    return gradient_norms


@pytest.mark.slow
def test_half_lives_are_those_of_each_example(study):
    halved_every = np.array([[2.0, 4.0], [8.0, -16.0]])  # [seed, batch]
    curves = 0.5 ** (np.arange(33.0)[None, :, None] / halved_every[:, None])
    found = study.half_lives(jnp.asarray(curves, jnp.float32))
    np.testing.assert_allclose(found["half_life"], [-16.0, 2.0, 4.0], rtol=1e-4)
    assert found["halved_at"] == 4


def test_stable_cells_are_those_of_the_study_and_their_rivals(study):
    assert set(study.STABLE) <= set(character_models.CELLS)
    assert {"RNN", "LSTM", "GRU", "CoRNN", "UnICORNN", "LEM"} <= set(study.STABLE)
    assert {"AntisymmetricRNN", "LipschitzRNN", "ExpRNN"} <= set(study.STABLE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cells", "name", "stem", "lag_curves"),
    [
        ("RNNx2", "RNNx2", "gradient_norms", 1),
        slow("stable", "UnICORNN", "gradient_norms_stable", 2),
    ],
)
def test_gradient_norms_writes_tables_and_figures(
    study, cells, name, stem, lag_curves, monkeypatch, tmp_path, capsys
):
    monkeypatch.setitem(study.GROUPS, "stable", (name,))
    text = tmp_path / "private" / "some.txt"
    text.parent.mkdir()
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 50)
    command = f"gradient_norms --cells {cells} --lengths 4 8 --width 3 --seeds 2 --batch 2"
    command += f" --training-steps 3 --text {text} --out {tmp_path / 'out'}"
    monkeypatch.setattr(sys, "argv", command.split())
    study.main()

    with (tmp_path / "out" / f"{stem}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    lags, lengths, ahead = 8, 2, 8
    assert len(rows) == 2 * (lag_curves * lags + lengths + ahead)
    assert all(math.isfinite(float(row["median"])) for row in rows)
    record = json.loads((tmp_path / "out" / f"{stem}.json").read_text())
    assert {"machine", "versions", "command", "date", "seeds", "cells"} <= set(record)
    assert record["cells"][name]["trained"]["difference_error"] < 1e-2
    assert str(tmp_path) not in json.dumps(record)
    for measure in ("lag", "length", "ahead"):
        picture = (tmp_path / "out" / f"{stem}_{measure}.png").read_bytes()
        assert picture.startswith(b"\x89PNG")
    assert f"| {name} | trained | state" in capsys.readouterr().out
