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


def start(folder, **options):
    """Start a process of the script `data_parallel.py`."""
    arguments = [f"--{name}={value}" for name, value in options.items()]
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    return subprocess.Popen(
        [sys.executable, "-m", "tests.training.data_parallel", str(folder), *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path, "XLA_FLAGS": os.environ.get("XLA_FLAGS", "")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(*processes):
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output


def load_end(folder, dtype):
    with np.load(folder / dtype / "end.npz") as file:
        return dict(file)


def largest_difference(got, want):
    return max(np.abs(got[name] - want[name]).max() / np.abs(want[name]).max() for name in want)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    wait_for(start(folder))
    return folder


def check_same_training(folder, one_device):
    """The losses of 20 steps in float32; losses and parameters after 100 steps in float64."""
    got, want = (load_end(path, "float32")["losses"] for path in (folder, one_device))
    np.testing.assert_allclose(got, want, rtol=1e-5)
    assert largest_difference(load_end(folder, "float64"), load_end(one_device, "float64")) < 1e-9
    assert want[-1] < want[0]


@pytest.mark.slow
def test_eight_devices_train_like_one(one_device, tmp_path):
    wait_for(start(tmp_path, devices=8))
    check_same_training(tmp_path, one_device)


@pytest.mark.slow
def test_two_processes_train_like_one(one_device, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    wait_for(*[start(tmp_path, processes=2, process=i, port=port) for i in range(2)])
    check_same_training(tmp_path, one_device)


@pytest.mark.slow
def test_checkpoint_of_eight_devices_resumes_on_one(one_device, tmp_path):
    wait_for(start(tmp_path, devices=8, steps=50))
    wait_for(start(tmp_path, devices=1, steps=100))
    got, want = load_end(tmp_path, "float64"), load_end(one_device, "float64")
    assert len(got.pop("losses")) == 50
    want.pop("losses")
    assert largest_difference(got, want) < 1e-9


def test_batch_that_the_devices_do_not_divide_is_refused(monkeypatch):
    devices = training.DataParallel()
    monkeypatch.setattr(training.DataParallel, "num_devices", 8)
    with pytest.raises(ValueError, match=r"\(7, 13\), over 8 devices[^$]*a multiple of 8"):
        devices.shard(np.zeros((7, 13)))


def test_array_without_the_batch_axis_is_refused():
    with pytest.raises(ValueError, match=r"\(8,\), over \d+ devices along axis 1"):
        training.DataParallel().shard({"lengths": np.zeros(8)})


def test_empty_list_of_devices_is_refused():
    with pytest.raises(ValueError, match="no devices"):
        training.DataParallel([])
