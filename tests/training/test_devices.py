"""One script on one device, on eight, and in two processes: the same training."""

import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

from seqmem import training

ROOT = pathlib.Path(__file__).parent.parent.parent


def started(folder, **options):
    """A process of the job of `data_parallel.py`."""
    told = [f"--{name}={value}" for name, value in options.items()]
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    return subprocess.Popen(
        [sys.executable, "-m", "tests.training.data_parallel", str(folder), *told],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path, "XLA_FLAGS": os.environ["XLA_FLAGS"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(*processes):
    for process in processes:
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said


def ends(folder, kind):
    with np.load(folder / kind / "end.npz") as found:
        return dict(found)


def furthest(got, want):
    return max(np.abs(got[name] - want[name]).max() / np.abs(want[name]).max() for name in want)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    finished(started(folder))
    return folder


def agrees(folder, one):
    """Losses of 20 steps in float32; losses and parameters after 100 in float64."""
    narrow, want = ends(folder, "narrow")["losses"], ends(one, "narrow")["losses"]
    np.testing.assert_allclose(narrow, want, rtol=1e-5)
    assert furthest(ends(folder, "wide"), ends(one, "wide")) < 1e-9
    assert want[-1] < want[0]


@pytest.mark.slow
def test_eight_devices_train_as_one(one, tmp_path):
    finished(started(tmp_path, devices=8))
    agrees(tmp_path, one)


@pytest.mark.slow
def test_two_processes_train_as_one(one, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    finished(*[started(tmp_path, processes=2, process=i, port=port) for i in range(2)])
    agrees(tmp_path, one)


@pytest.mark.slow
def test_a_run_on_eight_devices_goes_on_on_one(one, tmp_path):
    finished(started(tmp_path, devices=8, steps=50))
    finished(started(tmp_path, devices=1, steps=100))
    got, want = ends(tmp_path, "wide"), ends(one, "wide")
    assert len(got.pop("losses")) == 50
    want.pop("losses")
    assert furthest(got, want) < 1e-9


def test_examples_that_do_not_divide_are_refused(monkeypatch):
    everywhere = training.DataParallel()
    monkeypatch.setattr(training.DataParallel, "count", 8)
    with pytest.raises(ValueError, match=r"\(7, 13\), over 8 devices[^$]*a multiple of 8"):
        everywhere.spread(np.zeros((7, 13)))


def test_an_axis_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"\(8,\), over \d+ devices along axis 1"):
        training.DataParallel().spread({"lengths": np.zeros(8)})


def test_no_device_is_refused():
    with pytest.raises(ValueError, match="no devices"):
        training.DataParallel([])
