"""The training loop: its order, its tables, and what it refuses."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmem import experiment
from tests.experiment.runs import (
    KEY,
    THREE_PARTS,
    assert_same_bits,
    batch_at,
    init_state,
    read_table,
    step,
    train,
)


def test_train_runs_one_step_after_another():
    expected, losses, rows = init_state(), [], []
    for position in range(11):
        expected, metrics = step(expected, batch_at(KEY, position))
        losses.append(float(metrics["loss"]))
    state, progress = train(11, on_step=lambda position, row: rows.append((position, row["loss"])))
    assert_same_bits(state, expected)
    assert rows == list(enumerate(losses, 1))
    assert progress._asdict() == {
        "position": 11,
        "validations": 0,
        "best_loss": None,
        "since_best": 0,
    }


def test_train_with_zero_steps_changes_nothing():
    state, progress = train(0)
    assert_same_bits(state, init_state())
    assert progress.position == 0


def test_early_stopping_is_final(tmp_path):
    validation = experiment.Validation(lambda state: {"loss": 1.0}, every=2, patience=3)
    state, progress = train(100, tmp_path, validation=validation)
    assert progress == (8, 4, 1.0, 3)
    resumed, stopped = train(100, tmp_path, validation=validation)
    assert stopped == progress
    assert_same_bits(resumed, state)


def test_next_batch_is_made_before_the_metrics_are_waited_for():
    events = []

    class Loss:
        def __array__(self, *_, **__):
            events.append("metrics")
            return np.ones(())

    def step(state, batch):
        events.append(f"step {batch}")
        return state, {"loss": Loss()}

    def batch_at(key, position):
        events.append(f"batch {position}")
        return position

    experiment.train(step, {}, batch_at, key=KEY, steps=2, progress_bar=False)
    distinct = [event for i, event in enumerate(events) if events[i - 1 : i] != [event]]
    assert distinct == ["batch 0", "step 0", "batch 1", "metrics", "step 1", "metrics"]


def test_weak_types_are_removed():
    seen = []

    def step(state, batch):
        seen.append(state["scale"].weak_type)
        return {"scale": jnp.asarray(0.5)}, {"loss": 1.0}

    state = {"scale": jnp.asarray(0.5)}
    assert state["scale"].weak_type
    state, _ = experiment.train(step, state, batch_at, key=KEY, steps=3, progress_bar=False)
    assert not any(seen)
    assert not state["scale"].weak_type


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nonfinite_metric_stops_the_run_and_is_in_the_table(tmp_path, value):
    def step(state, batch):
        return state, {"loss": jnp.asarray(value), "size": jnp.ones(())}

    with pytest.raises(FloatingPointError, match="step 1 returned loss " + THREE_PARTS):
        experiment.train(step, {}, batch_at, key=KEY, steps=3, folder=tmp_path, progress_bar=False)
    (row,) = read_table(tmp_path)
    assert row["loss"] in ("NaN", "Infinity")


def test_skipped_step_does_not_stop_the_run(tmp_path):
    def step(state, batch):
        return state, {"loss": jnp.asarray(jnp.nan), "skipped": jnp.ones((), jnp.int32)}

    _, progress = experiment.train(
        step, {}, batch_at, key=KEY, steps=3, folder=tmp_path, progress_bar=False
    )
    assert progress.position == 3
    assert [row["skipped"] for row in read_table(tmp_path)] == [1, 1, 1]


def test_tokens_per_second_count_a_number_or_a_metric(tmp_path):
    def step(state, batch):
        return state, {"loss": jnp.ones(()), "weight": jnp.asarray(0.0)}

    for tokens in (7, "weight"):
        folder = tmp_path / str(tokens)
        experiment.train(
            step,
            {},
            batch_at,
            key=KEY,
            steps=2,
            folder=folder,
            tokens=tokens,
            progress_bar=False,
        )
        speeds = [row["tokens_per_second"] for row in read_table(folder)]
        assert all(speed == 0 if tokens == "weight" else speed > 1e-3 for speed in speeds)


def test_progress_bar_shows_the_metrics(capsys):
    pytest.importorskip("tqdm")
    train(3, progress_bar=True, tokens=7)
    output = capsys.readouterr().err
    assert "3/3" in output
    assert "loss=" in output
    assert "tokens_per_second=" in output


def test_counts_out_of_range_are_refused(tmp_path):
    for call in (
        lambda: train(-1),
        lambda: experiment.Validation(len, every=0),
        lambda: experiment.Validation(len, patience=0),
    ):
        with pytest.raises(ValueError, match=THREE_PARTS):
            call()


def test_validation_without_a_loss_is_refused():
    validation = experiment.Validation(lambda state: {"score": 1.0}, every=2)
    with pytest.raises(ValueError, match="position, score" + THREE_PARTS):
        train(3, validation=validation)


def test_metric_that_is_no_scalar_is_refused():
    def step(state, batch):
        return state, {"loss": jnp.ones(3)}

    with pytest.raises(ValueError, match=r"loss of shape \(3,\)" + THREE_PARTS):
        experiment.train(step, {}, batch_at, key=KEY, steps=2, progress_bar=False)


def test_train_on_a_batch_of_numpy_arrays_matches_jax_arrays():
    def numpy_batch_at(key, position):
        return np.asarray(batch_at(key, position))

    state, _ = experiment.train(
        step, init_state(), numpy_batch_at, key=KEY, steps=3, progress_bar=False
    )
    assert_same_bits(state, train(3)[0])
    assert jax.tree.structure(state) == jax.tree.structure(init_state())
