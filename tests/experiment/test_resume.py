"""A run that is interrupted and resumed ends with the bits of one that was not."""

import math

import jax
import pytest

from seqmem import experiment
from tests.experiment.runs import (
    KEY,
    NO_ORBAX,
    THREE_PARTS,
    StoppedError,
    assert_same_bits,
    batch_at,
    init_state,
    read_table,
    step,
    stop_after,
    train,
    validation_metrics,
)
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The folder, the final state and the progress of 13 steps."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    validation = experiment.Validation(validation_metrics, every=3)
    return folder, *train(13, folder, validation=validation)


@pytest.mark.parametrize(
    "stops", [(1,), (5, 9), *map(slow, [(3,), (4,), (4, 5, 6, 7, 8, 9, 10), (10, 2, 13)])]
)
def test_resumed_run_ends_with_the_bits_of_an_uninterrupted_run(tmp_path, stops, uninterrupted):
    expected_folder, expected, expected_progress = uninterrupted
    validation = experiment.Validation(validation_metrics, every=3)
    for position in stops:
        try:
            train(13, tmp_path, validation=validation, on_step=stop_after(position))
        except StoppedError:
            continue
    state, progress = train(13, tmp_path, validation=validation)
    assert_same_bits(state, expected)
    assert progress == expected_progress
    for name in ("training", "validation"):
        assert read_table(tmp_path, name) == read_table(expected_folder, name)
    assert [row["position"] for row in read_table(tmp_path)] == list(range(1, 14))
    assert [row["position"] for row in read_table(tmp_path, "validation")] == [3, 6, 9, 12]


def test_finished_run_makes_no_more_steps(tmp_path):
    expected, _ = train(7, tmp_path)

    def refuse(state, batch):
        raise AssertionError("a step")

    state, progress = experiment.train(
        refuse,
        init_state(),
        batch_at,
        key=KEY,
        steps=7,
        folder=tmp_path,
        checkpoints=experiment.Checkpoints(tmp_path / "checkpoints"),
        progress_bar=False,
    )
    assert_same_bits(state, expected)
    assert progress.position == 7


def test_finished_run_can_be_extended(tmp_path):
    train(7, tmp_path)
    state, _ = train(11, tmp_path)
    assert_same_bits(state, train(11)[0])
    assert len(read_table(tmp_path)) == 11


def test_checkpoints_are_at_the_beginning_the_end_each_n_steps_and_each_best(tmp_path):
    pytest.importorskip("orbax.checkpoint", reason=NO_ORBAX)
    losses, positions = {3: 0.5, 6: math.nan, 9: 0.7, 12: 0.4}, []
    checkpoints = experiment.Checkpoints(tmp_path / "checkpoints", every=5, keep_last=100)
    _, progress = train(
        14,
        tmp_path,
        checkpoints=checkpoints,
        validation=experiment.Validation(lambda state: {"loss": losses[positions[-1]]}, every=3),
        on_step=lambda position, metrics: positions.append(position),
    )
    assert checkpoints.positions() == [0, 3, 5, 10, 12, 14]
    assert checkpoints.best_position() == 12
    assert progress == (14, 4, 0.4, 0)


def test_step_that_stops_the_run_is_in_no_checkpoint(tmp_path):
    with pytest.raises(StoppedError):
        train(13, tmp_path, on_step=stop_after(4))
    assert experiment.Checkpoints(tmp_path / "checkpoints").positions() == [0]


def test_key_of_another_run_is_refused(tmp_path):
    train(3, tmp_path)
    with pytest.raises(ValueError, match="another key" + THREE_PARTS):
        train(5, tmp_path, key=jax.random.key(4))


@pytest.mark.parametrize("metadata", [{"epoch": 3}, {"progress": {"epoch": 3}, "tables": {}}])
def test_checkpoint_of_another_program_is_not_resumed(tmp_path, metadata):
    pytest.importorskip("orbax.checkpoint", reason=NO_ORBAX)
    checkpoints = experiment.Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(4, {"state": init_state(), "key": KEY}, metadata)
    assert_refused(f"the metadata {metadata} of the last checkpoint", train, 5, tmp_path)


def test_tables_of_another_run_are_refused_and_unchanged(tmp_path):
    def train_without_checkpoints():
        return experiment.train(
            step,
            init_state(),
            batch_at,
            key=KEY,
            steps=3,
            folder=tmp_path,
            progress_bar=False,
        )

    train_without_checkpoints()
    content = (tmp_path / "training.csv").read_bytes()
    with pytest.raises(ValueError, match="another run" + THREE_PARTS):
        train_without_checkpoints()
    with pytest.raises(ValueError, match="another run" + THREE_PARTS):
        train(3, tmp_path)
    assert (tmp_path / "training.csv").read_bytes() == content


def test_tables_with_lost_rows_are_refused(tmp_path):
    train(5, tmp_path)
    (tmp_path / "training.jsonl").write_text('{"position": 1, "loss": 0.5}\n{"positi')
    with pytest.raises(ValueError, match=r"1 complete lines(.|\n)*the 5 lines that were"):
        train(7, tmp_path)


def test_run_with_a_changed_table_is_refused_and_resumes_without_tables(tmp_path):
    train(5, tmp_path)
    path = tmp_path / "training.csv"
    path.write_bytes(path.read_bytes().replace(b"2,", b"3,", 1))
    with pytest.raises(ValueError, match=r"training\.csv is damaged" + THREE_PARTS):
        train(7, tmp_path)
    state, _ = train(7, checkpoints=experiment.Checkpoints(tmp_path / "checkpoints"))
    assert_same_bits(state, train(7)[0])
