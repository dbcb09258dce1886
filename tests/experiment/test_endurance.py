"""A run that is killed at any moment resumes as if it had not been."""

import os
import pathlib
import subprocess
import sys

import pytest

from tests.experiment.runs import NO_ORBAX


@pytest.mark.slow
def test_run_killed_at_ten_moments_ends_with_the_same_bits():
    pytest.importorskip("orbax.checkpoint", reason=NO_ORBAX)
    root = pathlib.Path(__file__).parent.parent.parent
    result = subprocess.run(
        [sys.executable, "-m", "tests.experiment.kill_and_resume"],
        cwd=root,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])},
        capture_output=True,
        text=True,
        check=False,
    )
    print(result.stdout)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "the same bits" in result.stdout
