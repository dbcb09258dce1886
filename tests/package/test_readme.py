"""The README is short, its Python blocks run as one program, and what it names exists."""

import operator
import pathlib
import re

import jax
import numpy as np
import pytest

import seqmem
from tests.helpers import cells_table

README = pathlib.Path(__file__).parent.parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")
PROGRAM = "\n".join(re.findall(r"```python\n(.*?)```", TEXT, re.S))


@pytest.fixture(scope="module")
def names():
    """The variables after the last block, and what the blocks print."""
    lines = []
    variables = {"print": lambda *args: lines.append(" ".join(map(str, args)))}
    with jax.numpy_dtype_promotion("standard"):  # as users run it
        exec(compile(PROGRAM, str(README), "exec"), variables)
    return variables | {"lines": lines}


def test_readme_program_measures_the_gradient_of_the_cell_that_it_introduces(names):
    assert isinstance(names["cell"], seqmem.LSTM)
    assert names["xs"].shape == (100, 8, 3)
    assert names["ys"].shape == (100, 8, 64)
    assert names["y"].shape == (64,)
    assert names["curve"].shape == (100, 8)
    assert np.isfinite(names["value"])
    assert float(names["lines"][0].strip("[]").split()[0]) > 0


def test_readme_quotes_the_message_of_its_error(names):
    with pytest.raises(ValueError, match="input_shape") as error:
        seqmem.unroll(names["cell"], None, np.ones((100, 8, 4), np.float32))
    assert f"ValueError: {error.value}\n" in TEXT


def test_readme_has_at_most_150_lines():
    assert TEXT.count("\n") <= 150


def test_readme_names_exist():
    """Every name in the package, and every name with a sub-package in front of it."""
    quoted = set(re.findall(r"`(?:seqmem\.)?([A-Za-z_][\w.]*)[`(]", TEXT))
    dotted = {name for name in quoted if name.split(".")[0] in seqmem._SUBPACKAGES}
    classes = {name for name in quoted if re.fullmatch(r"[A-Z][A-Za-z0-9]+", name)}
    gradient_names = {"RTRL", "SnAp", "EProp", "UORO"}
    assert len(dotted) > 5
    assert gradient_names < classes
    for name in dotted | (classes - gradient_names - {"ValueError"}):
        operator.attrgetter(name)(seqmem)
    for name in gradient_names:
        getattr(seqmem.gradients, name)


def test_readme_counts_the_cells():
    count = len(cells_table.cell_types())
    assert f"{count} cells" in TEXT
    assert f"[all {count}]" in TEXT
