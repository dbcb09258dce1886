"""The training guide runs from top to bottom, with fewer steps."""

import pathlib
import re

import jax
import pytest

GUIDE = pathlib.Path(__file__).parent.parent.parent / "docs" / "training.md"


@pytest.mark.slow
def test_training_guide_runs():
    code = "\n".join(re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S))
    shorter = re.sub(r"steps=(300|1000)\b", "steps=2", code)
    assert shorter.count("steps=2") == 2
    names = {}
    exec(compile(shorter, str(GUIDE), "exec"), names)
    assert all(jax.tree.leaves(names["same"]))
    assert names["progress"].position == 60
