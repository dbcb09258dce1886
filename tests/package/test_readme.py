"""The README's Python blocks run from top to bottom, as one program; one block is its own."""

import importlib
import importlib.util
import operator
import os
import pathlib
import re
import subprocess
import sys

import jax
import numpy as np
import pytest

import seqmem

README = pathlib.Path(__file__).parent.parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.S)
STARTS = "use_cpu_cores()"  # comes before the first computation of a program
ONE_PROGRAM = [block for block in BLOCKS if STARTS not in block]


@pytest.fixture(scope="module")
def names():
    """The variables after the last block, and what the blocks print."""
    lines = []
    variables = {"print": lambda *args: lines.append(" ".join(map(str, args)))}
    with jax.numpy_dtype_promotion("standard"):  # as users run it
        exec(compile("\n".join(ONE_PROGRAM), str(README), "exec"), variables)
    return variables | {"lines": lines}


def test_readme_program_prints_what_its_comments_say(names):
    assert names["lines"][0] == "3 of 4 without a memory"
    assert names["lines"][1] == "ello with 8 recurrent units"
    assert float(names["lines"][2].strip("[]").split()[0]) > 0


def test_block_for_every_core_is_a_program():
    (block,) = set(BLOCKS) - set(ONE_PROGRAM)
    program = block.replace(STARTS, "use_cpu_cores(2)")
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(README.parent / "src"), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == "(4, 64, 64) by 2 devices\n"


def test_readme_program_runs_the_cell_that_it_introduces(names):
    """No later block gives another meaning to a name of the first block."""
    assert isinstance(names["cell"], seqmem.LSTM)
    assert names["xs"].shape == (100, 8, 3)
    assert names["ys"].shape == (100, 8, 128)  # of the bidirectional network
    assert names["solution"].states.c.shape == (100, 8, 64)
    assert np.isfinite(names["value"])
    assert names["beam"].tokens.shape == (4, 9)


def test_readme_quotes_the_message_of_its_error(names):
    with pytest.raises(ValueError, match="input_shape") as error:
        seqmem.unroll(names["cell"], None, np.ones((100, 8, 4), np.float32))
    assert f"ValueError: {error.value}\n" in TEXT


def test_readme_names_exist():
    """Every name with a sub-package in front of it, such as `layers.Stack`."""
    names = set(re.findall(r"`(?:seqmem\.)?([A-Za-z_][\w.]*)", TEXT))
    dotted = {name for name in names if name.split(".")[0] in seqmem._SUBPACKAGES and "." in name}
    if importlib.util.find_spec("flax") is None:
        dotted.remove("interop.nnx.Memory")
    else:
        importlib.import_module("seqmem.interop.nnx")
    assert len(dotted) > 5
    for name in dotted:
        operator.attrgetter(name)(seqmem)


def test_readme_names_every_cell():
    cells = [
        name
        for name in seqmem.__all__
        if isinstance(getattr(seqmem, name), type)
        and issubclass(getattr(seqmem, name), seqmem.AbstractCell)
        and not name.startswith("Abstract")
    ]
    assert [name for name in cells if f"`{name}`" not in TEXT] == []
