"""A run that is killed at any moment goes on as if it had not been."""

import os
import pathlib
import subprocess
import sys

import pytest

from tests.experiment.test_loop import WHY


@pytest.mark.slow
def test_a_run_killed_at_ten_moments_ends_with_the_same_bits(tmp_path):
    pytest.importorskip("orbax.checkpoint", reason=WHY)
    root = pathlib.Path(__file__).parent.parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "tests.experiment.kill_and_resume"],
        cwd=root,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])},
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the same bits" in done.stdout
