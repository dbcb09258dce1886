"""One script on one device, on eight, and in two processes: the same training."""

import os
import pathlib
import socket
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec as P

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
@pytest.mark.parametrize("axes", ["auto", "explicit"])
def test_four_devices_with_half_of_each_matrix_train_like_one(one_device, tmp_path, axes):
    wait_for(start(tmp_path, devices=4, split=2, axes=axes))
    check_same_training(tmp_path, one_device)


@pytest.mark.slow
def test_checkpoint_of_eight_devices_resumes_on_one(one_device, tmp_path):
    wait_for(start(tmp_path, devices=8, steps=50))
    wait_for(start(tmp_path, devices=1, steps=100))
    got, want = load_end(tmp_path, "float64"), load_end(one_device, "float64")
    assert len(got.pop("losses")) == 50
    want.pop("losses")
    assert largest_difference(got, want) < 1e-9


def test_batch_that_the_devices_do_not_divide_is_refused():
    devices = training.DataParallel()
    devices.mesh = AbstractMesh((8,), ("batch",))
    with pytest.raises(ValueError, match=r"\(7, 13\), over 8 devices[^$]*a multiple of 8"):
        devices.shard(np.zeros((7, 13)))


def test_mesh_of_the_caller_splits_the_batch_over_its_first_axis():
    mesh = jax.make_mesh((1, 1), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)
    devices = training.DataParallel(mesh)
    assert devices.shard(np.zeros((7, 4))).sharding == NamedSharding(mesh, P(None, "data"))
    assert devices.num_devices == 1


def test_training_state_keeps_arrays_that_are_on_the_mesh():
    mesh = jax.make_mesh((1, 1), ("data", "model"))
    split = NamedSharding(mesh, P(None, "model"))
    model = {"U": jax.device_put(np.ones((3, 4)), split), "b": np.ones(3)}
    state = training.begin_training(model, optax.adam(1e-2), np.zeros((2, 5)))
    gradient = training.TruncatedBPTT(lambda *args: args, window=7)
    state = training.DataParallel(mesh).shard_training(state, gradient)
    assert state.model["U"].sharding == split
    assert {leaf["U"].sharding for leaf in state.opt_state[0][1:]} == {split}
    assert state.model["b"].sharding == NamedSharding(mesh, P())
    assert state.carry.sharding == NamedSharding(mesh, P("data"))


def test_array_without_the_batch_axis_is_refused():
    with pytest.raises(ValueError, match=r"\(8,\), over \d+ devices along axis 1"):
        training.DataParallel().shard({"lengths": np.zeros(8)})


def test_empty_list_of_devices_is_refused():
    with pytest.raises(ValueError, match="no devices"):
        training.DataParallel([])
