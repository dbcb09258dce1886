"""Runs that are killed, that find a full disk, or whose files are damaged: nothing is lost."""

import os
import pathlib
import subprocess
import sys

import pytest

from tests.experiment.runs import NO_ORBAX

ROOT = pathlib.Path(__file__).parent.parent.parent


def run(program: str, *arguments: str) -> str:
    """What a program of this folder prints; it must end well."""
    pytest.importorskip("orbax.checkpoint", reason=NO_ORBAX)
    result = subprocess.run(
        [sys.executable, "-m", f"tests.experiment.{program}", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    print(result.stdout)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "kills"), [(1, 10), (2, 2)])
def test_killed_run_ends_with_the_same_bits(processes, kills):
    output = run("kill_and_resume", f"--kills={kills}", f"--processes={processes}")
    assert "the same bits" in output


@pytest.mark.slow
def test_flipped_bit_is_found_or_changes_nothing():
    lines = run("flip_bits", "--flips=2").splitlines()
    flipped = {line.partition(": ")[0].rpartition("/")[2] for line in lines}
    tables = {f"{name}.{kind}" for name in ("training", "validation") for kind in ("csv", "jsonl")}
    assert flipped >= {"end", "metadata", "manifest.ocdbt", "commit_success.txt"} | tables


@pytest.mark.slow
def test_full_disk_loses_nothing():
    assert "failed calls" in run("full_disk", "--stride=13")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_number_of_steps():
    output = run("memory_stays_flat", "--stream-steps=10000", "--train-steps=300")
    assert "5 programs of the step, 5 buckets" in output
