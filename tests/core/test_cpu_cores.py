"""Cores of the CPU as devices: before JAX starts, and after."""

import os
import pathlib
import subprocess
import sys

import jax
import pytest

import seqmem
from seqmem._core.cpu_cores import available_cores
from tests.helpers.refusals import assert_refused

SOURCE = pathlib.Path(__file__).parent.parent.parent / "src"
PROGRAM = """
import importlib, os, jax, seqmem
for name in seqmem._SUBPACKAGES:
    importlib.import_module(f"seqmem.{name}")
print(seqmem.use_cpu_cores(2))
print(seqmem.use_cpu_cores(3), len(jax.devices()), seqmem.use_cpu_cores(3))
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])
    try:
        seqmem.use_cpu_cores()
    except ValueError as error:
        print(error)
"""


@pytest.mark.slow
def test_cores_are_devices_if_nothing_but_imports_came_before():
    """Importing seqmem and its sub-packages does not start JAX, and the same number may come again.
    Without a number it is that of the cores that the process may use.
    """
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"PYTHONPATH": str(SOURCE), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    first, second, *message = run.stdout.splitlines()
    assert first == "2"  # a number before JAX starts may be replaced
    assert second == "3 3 3"
    if hasattr(os, "sched_setaffinity"):
        assert message[0] == "use_cpu_cores got count=1 after JAX had started with 3 CPU devices."


def test_number_that_jax_did_not_start_with_is_refused():
    count = len(jax.devices("cpu"))
    came = f"use_cpu_cores got count={count + 1} after JAX had started with {count} CPU devices."
    message = assert_refused(came, seqmem.use_cpu_cores, count + 1)
    assert message.endswith(f"JAX_NUM_CPU_DEVICES={count + 1}.")
    assert seqmem.use_cpu_cores(count) == count


def test_cores_are_those_that_the_process_may_use_where_the_system_says_so(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 11)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 7}, raising=False)
    assert available_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert available_cores() == 11
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1


@pytest.mark.parametrize("count", [0, -1, 2.0, True, "2"])
def test_count_that_is_no_whole_number_is_refused(count):
    assert_refused(f"use_cpu_cores got count={count!r}.", seqmem.use_cpu_cores, count)
