"""The devices of a job: all that there are, or so many, if they divide its batch."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import pytest

import seqmem
from benchmarks.common.devices import devices_for
from tests.helpers.devices import ROOT
from tests.helpers.refusals import assert_refused


@pytest.fixture
def six_devices(monkeypatch):
    """As on a CPU with six cores; the devices are none of JAX."""
    monkeypatch.setattr(seqmem, "use_cpu_cores", lambda count: count or 6)
    monkeypatch.setattr(jax, "devices", lambda: list(range(6)))


@pytest.mark.usefixtures("six_devices")
def test_devices_that_do_not_divide_the_batch_are_refused():
    message = assert_refused("6 devices for a batch of 32.", devices_for, 32, None)
    assert message.endswith("add --devices 4.")


@pytest.mark.usefixtures("six_devices")
def test_more_devices_than_there_are_are_refused():
    assert_refused("--devices 8 on a machine with 6.", devices_for, 32, 8)


@pytest.mark.slow
def test_two_devices_train_the_character_model_of_one(tmp_path):
    (tmp_path / "tinyshakespeare").mkdir()
    (tmp_path / "tinyshakespeare" / "input.txt").write_text("abc\n" * 10_000)
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    settings = {"SEQMEM_DATA": str(tmp_path), "JAX_PLATFORMS": "cpu", "PYTHONPATH": path}
    losses = []
    for devices in (1, 2):
        folder = tmp_path / str(devices)
        options = f"--hidden 11 --steps 20 --devices {devices} --out {folder}"
        run = subprocess.run(
            [sys.executable, "-m", "benchmarks.jobs.character_model", *options.split()],
            cwd=ROOT,
            env=os.environ | settings,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        record = json.loads(pathlib.Path(folder, "character_model_cpu.json").read_text())
        assert record["devices"] == devices
        (result,) = record["runs"]
        assert result["characters_per_second"] > 0
        losses.append(result["test_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
