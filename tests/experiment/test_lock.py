"""One run at a time writes in a folder of checkpoints."""

import os
import pathlib
import subprocess
import sys

import pytest

from seqmem import experiment
from seqmem.experiment import _lock
from tests.experiment.runs import THREE_PARTS, assert_same_bits, init_state, read_table, train

ROOT = pathlib.Path(__file__).parent.parent.parent


def test_second_run_in_a_folder_is_refused_and_changes_nothing(tmp_path):
    def start_another(position, metrics):
        if position == 5:
            with pytest.raises(ValueError, match="another run is writing" + THREE_PARTS):
                train(7, tmp_path)
            with pytest.raises(ValueError, match="another run is writing" + THREE_PARTS):
                experiment.Checkpoints(tmp_path / "checkpoints").save(6, init_state())

    state, _ = train(7, tmp_path, on_step=start_another)
    assert_same_bits(state, train(7)[0])
    assert [row["position"] for row in read_table(tmp_path)] == list(range(1, 8))
    train(8, tmp_path)  # the first one has ended


def test_folder_of_a_run_can_be_read_and_keeps_what_is_written(tmp_path):
    unfinished = tmp_path / "checkpoints" / "0000000008.orbax-checkpoint-tmp"

    def read(position, metrics):
        if position == 5:
            unfinished.mkdir()
            checkpoints = experiment.Checkpoints(tmp_path / "checkpoints")
            like = {"state": init_state(), "key": init_state()["key"]}
            assert checkpoints.restore(like)[1]["progress"]["position"] == 4
            assert unfinished.exists()

    train(7, tmp_path, on_step=read)
    experiment.Checkpoints(tmp_path / "checkpoints")
    assert not unfinished.exists()


def test_system_without_locks_locks_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(_lock, "fcntl", None)
    with _lock.FolderLock(tmp_path).hold(), _lock.FolderLock(tmp_path).hold():
        pass


def test_folder_that_does_not_exist_is_not_locked(tmp_path):
    folder = tmp_path / "none"
    with _lock.FolderLock(folder).hold(), _lock.FolderLock(folder).hold():
        assert not folder.exists()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_worker_that_outlives_its_parent_does_not_hold_the_lock(tmp_path):
    program = """
import os, pathlib, signal, sys
from seqmem.experiment._lock import FolderLock
with FolderLock(pathlib.Path(sys.argv[1])).hold():
    child = os.fork()
    if not child:
        signal.pause()
    print(child, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
    ) as process:
        child = int(process.stdout.readline())
    try:
        with _lock.FolderLock(tmp_path).try_to_hold() as is_held:
            assert is_held
    finally:
        os.kill(child, 9)
