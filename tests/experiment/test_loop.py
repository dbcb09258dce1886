"""The loop: the same run however often it is ended, and nothing without a word."""

import csv
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmem import experiment

WHY = "no orbax-checkpoint here to write checkpoints with"
THREE_PARTS = r"(.|\n)*Expected(.|\n)*What to do"
KEY = jax.random.key(3)


class EndedError(Exception):
    """Stands for whatever ends a run."""


@jax.jit
def step(run, batch):
    """Follow the batches slowly, with noise of the run's own."""
    key, own = jax.random.split(run["key"])
    error = run["w"] - batch + 0.1 * jax.random.normal(own, batch.shape)
    return {"w": run["w"] - 0.3 * error, "key": key}, {"loss": (error**2).mean()}


def start():
    return {"w": jnp.zeros(5), "key": jax.random.key(0)}


def batches(key, position):
    return jax.random.normal(jax.random.fold_in(key, position), (5,)) + 1


def end_after(count):
    def watch(position, row):
        if position == count:
            raise EndedError

    return watch


def train(steps, folder=None, **options):
    """Quietly; with a folder, with checkpoints and tables in it."""
    if folder is not None:
        pytest.importorskip("orbax.checkpoint", reason=WHY)
        checkpoints = experiment.Checkpoints(folder / "checkpoints")
        options = {"folder": folder, "checkpoints": checkpoints, "checkpoint_every": 4} | options
    options = {"key": KEY, "bar": False} | options
    return experiment.train(step, start(), batches, steps=steps, **options)


def train_without_checkpoints(folder):
    return experiment.train(step, start(), batches, key=KEY, steps=3, folder=folder, bar=False)


def validate(run):
    return {"loss": jnp.abs(run["w"] - 1).sum(), "most": run["w"].max()}


def rows(folder, name="training"):
    lines = (folder / f"{name}.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    with (folder / f"{name}.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    told = [[{k: repr(float(v)) for k, v in row.items()} for row in all] for all in (table, found)]
    assert told[0] == told[1]
    return found


def assert_same_bits(one, other):
    for name in ("w", "key"):
        a, b = (run[name] for run in (one, other))
        if name == "key":
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_the_loop_is_the_steps_one_after_another():
    expected, losses = start(), []
    for position in range(11):
        expected, metrics = step(expected, batches(KEY, position))
        losses.append(float(metrics["loss"]))
    seen = []
    found, progress = train(11, watch=lambda position, row: seen.append((position, row["loss"])))
    assert_same_bits(found, expected)
    assert seen == list(enumerate(losses, 1))
    assert progress == experiment.Progress(position=11)


def test_no_step_changes_nothing():
    found, progress = train(0)
    assert_same_bits(found, start())
    assert progress.position == 0


@pytest.mark.parametrize("ends", [(1,), (3,), (4,), (5, 9), (4, 5, 6, 7, 8, 9, 10), (10, 2, 13)])
def test_a_run_that_was_ended_goes_on_as_if_it_had_not_been(tmp_path, ends):
    options = {"validate": validate, "validate_every": 3}
    expected, whole = train(13, tmp_path / "whole", **options)
    for end in ends:
        try:
            train(13, tmp_path / "ended", watch=end_after(end), **options)
        except EndedError:
            continue
    found, progress = train(13, tmp_path / "ended", **options)
    assert_same_bits(found, expected)
    assert progress == whole
    for name in ("training", "validation"):
        assert rows(tmp_path / "ended", name) == rows(tmp_path / "whole", name)
    assert [row["position"] for row in rows(tmp_path / "ended")] == list(range(1, 14))
    assert [row["position"] for row in rows(tmp_path / "ended", "validation")] == [3, 6, 9, 12]


def test_a_run_that_is_over_makes_no_step(tmp_path):
    expected, _ = train(7, tmp_path)

    def never(run, batch):
        raise AssertionError("a step")

    found, progress = experiment.train(
        never,
        start(),
        batches,
        key=KEY,
        steps=7,
        folder=tmp_path,
        checkpoints=experiment.Checkpoints(tmp_path / "checkpoints"),
        bar=False,
    )
    assert_same_bits(found, expected)
    assert progress.position == 7


def test_a_run_can_be_made_longer(tmp_path):
    train(7, tmp_path / "a")
    found, _ = train(11, tmp_path / "a")
    assert_same_bits(found, train(11)[0])
    assert len(rows(tmp_path / "a")) == 11


def test_checkpoints_are_at_the_beginning_the_end_each_n_steps_and_the_best(tmp_path):
    pytest.importorskip("orbax.checkpoint", reason=WHY)
    losses = {3: 0.5, 6: math.nan, 9: 0.7, 12: 0.4}
    made = []

    def validate(run):
        return {"loss": losses[made[-1]]}

    kept = experiment.Checkpoints(tmp_path / "checkpoints", last=100)
    _, progress = train(
        14,
        tmp_path,
        checkpoints=kept,
        checkpoint_every=5,
        validate=validate,
        validate_every=3,
        watch=lambda position, row: made.append(position),
    )
    assert kept.positions() == [0, 3, 5, 10, 12, 14]
    assert kept.best_position() == 12
    assert progress == experiment.Progress(14, validations=4, best=0.4, since_best=0)


def test_a_run_stops_when_validation_gets_no_better_and_stays_so(tmp_path):
    options = {"validate": lambda run: {"loss": 1.0}, "validate_every": 2, "patience": 3}
    found, progress = train(100, tmp_path, **options)
    assert progress == experiment.Progress(position=8, validations=4, best=1.0, since_best=3)
    again, stopped = train(100, tmp_path, **options)
    assert stopped == progress
    assert_same_bits(again, found)


def test_the_next_batch_is_prepared_before_the_steps_metrics_are_waited_for():
    told = []

    class Loss:
        def __array__(self, *_, **__):
            told.append("metrics")
            return np.ones(())

    def step(run, batch):
        told.append(f"step {batch}")
        return run, {"loss": Loss()}

    def batches(key, position):
        told.append(f"batch {position}")
        return position

    experiment.train(step, {}, batches, key=KEY, steps=2, bar=False)
    order = [word for i, word in enumerate(told) if told[i - 1 : i] != [word]]
    assert order == ["batch 0", "step 0", "batch 1", "metrics", "step 1", "metrics"]


def test_weak_types_are_taken_away():
    seen = []

    def step(run, batch):
        seen.append(run["scale"].weak_type)
        return {"scale": jnp.asarray(0.5)}, {"loss": 1.0}

    assert jnp.asarray(0.5).weak_type
    run, _ = experiment.train(step, {"scale": jnp.asarray(0.5)}, batches, key=KEY, steps=3, bar=False)
    assert not any(seen)
    assert not run["scale"].weak_type


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_metric_that_is_not_finite_stops_the_run_and_is_written(tmp_path, bad):
    def step(run, batch):
        return run, {"loss": jnp.asarray(bad), "size": jnp.ones(())}

    with pytest.raises(FloatingPointError, match="step 1 gave loss " + THREE_PARTS):
        experiment.train(step, {}, batches, key=KEY, steps=3, folder=tmp_path, bar=False)
    (row,) = rows(tmp_path)
    assert row["loss"] in ("NaN", "Infinity")


def test_a_step_that_was_skipped_does_not_stop_the_run(tmp_path):
    def step(run, batch):
        return run, {"loss": jnp.asarray(jnp.nan), "skipped": jnp.ones((), jnp.int32)}

    _, progress = experiment.train(step, {}, batches, key=KEY, steps=3, folder=tmp_path, bar=False)
    assert progress.position == 3
    assert [row["skipped"] for row in rows(tmp_path)] == [1, 1, 1]


def test_a_checkpoint_is_not_written_of_a_step_that_stopped_the_run(tmp_path):
    with pytest.raises(EndedError):
        train(13, tmp_path, watch=end_after(4))
    assert experiment.Checkpoints(tmp_path / "checkpoints").positions() == [0]


def test_another_key_than_the_runs_is_refused(tmp_path):
    train(3, tmp_path)
    with pytest.raises(ValueError, match="another key" + THREE_PARTS):
        train(5, tmp_path, key=jax.random.key(4))


def test_tables_of_another_run_are_refused_and_left_alone(tmp_path):
    train_without_checkpoints(tmp_path)
    before = (tmp_path / "training.csv").read_bytes()
    with pytest.raises(ValueError, match="another run" + THREE_PARTS):
        train_without_checkpoints(tmp_path)
    with pytest.raises(ValueError, match="another run" + THREE_PARTS):
        train(3, tmp_path)
    assert (tmp_path / "training.csv").read_bytes() == before


def test_lost_rows_are_not_made_up(tmp_path):
    train(5, tmp_path)
    (tmp_path / "training.jsonl").write_text('{"position": 1, "loss": 0.5}\n{"positi')
    with pytest.raises(ValueError, match=r"1 whole lines(.|\n)*the 5 that were"):
        train(7, tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"steps": -1},
        {"steps": 3, "checkpoint_every": 0},
        {"steps": 3, "validate_every": 0},
        {"steps": 3, "patience": 0},
    ],
)
def test_counts_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=THREE_PARTS):
        train(**options)


def test_a_validation_without_a_loss_is_refused():
    with pytest.raises(ValueError, match="position, score" + THREE_PARTS):
        train(3, validate=lambda run: {"score": 1.0}, validate_every=2)


def test_a_metric_that_is_no_scalar_is_refused():
    def step(run, batch):
        return run, {"loss": jnp.ones(3)}

    with pytest.raises(ValueError, match=r"loss of shape \(3,\)" + THREE_PARTS):
        experiment.train(step, {}, batches, key=KEY, steps=2, bar=False)


def test_a_row_of_other_columns_is_refused(tmp_path):
    with experiment.Metrics(tmp_path / "table") as table:
        table.write({"position": 1, "loss": 0.5})
        for other in ({"position": 2}, {"position": 2, "loss": 0.5, "norm": 1.0}):
            with pytest.raises(ValueError, match="a row of position" + THREE_PARTS):
                table.write(other)
        table.write({"loss": -math.inf, "position": 2})
    assert rows(tmp_path, "table")[1] == {"position": 2, "loss": "-Infinity"}
