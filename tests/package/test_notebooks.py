"""Notebooks hold the code of their sources, which runs, and the outputs of a run."""

import itertools
import json
import pathlib
import traceback

import jax
import pytest

from tests.helpers import notebooks

NAMES = notebooks.names()
# (text, replacement) for each size that is reduced where a notebook is tested
SMALLER = {
    "dynamics": [
        ("jax.random.split(key, 600)", "jax.random.split(key, 60)"),
        ("GRU(3, 64,", "GRU(3, 16,"),
        ("Linear(64, 3,", "Linear(16, 3,"),
        ("states[::2]", "states[::16]"),
        ("jnp.zeros((50_000, 0))", "jnp.zeros((2_000, 0))"),
        ("lag = 200", "lag = 20"),
        ("LSTM(50, 256,", "LSTM(50, 32,"),
        ("(4, 256))", "(4, 32))"),
        ("gradients.critical(lstm, lag=lag, input_power=1.0)", "seqmem.with_gain(lstm, 2.0)"),
        ("xs[500:]", "xs[500:600]"),
        ("steps=500", "steps=3"),
        ("task.batch(jax.random.key(8), 64)", "task.batch(jax.random.key(8), 8)"),
    ]
}


def read(name):
    source = notebooks.FOLDER / f"{name}.py"
    written = json.loads(source.with_suffix(".ipynb").read_text(encoding="utf-8"))
    return notebooks.cells_of(source.read_text(encoding="utf-8")), written


def test_every_source_has_a_notebook_and_every_notebook_a_source():
    assert NAMES
    assert sorted(path.stem for path in notebooks.FOLDER.glob("*.ipynb")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_notebook_holds_the_cells_of_its_source(name):
    cells, written = read(name)
    outputs = [cell["outputs"] for cell in written["cells"] if cell["cell_type"] == "code"]
    expected = notebooks.notebook(cells, outputs)
    assert written == expected, f"run `{notebooks.COMMAND} {name}` and commit the notebook"


@pytest.mark.parametrize("name", NAMES)
def test_notebook_is_small_explains_its_code_and_shows_pictures(name):
    cells, written = read(name)
    assert (notebooks.FOLDER / f"{name}.ipynb").stat().st_size < 600_000
    outputs = [output for cell in written["cells"] for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
    assert any(output["output_type"] == "stream" for output in outputs)
    for before, cell in itertools.pairwise(cells[2:]):  # after the imports
        assert not (before.is_code and cell.is_code), f"nothing explains line {cell.line + 1}"


@pytest.mark.slow
@pytest.mark.optimised
@pytest.mark.parametrize("name", NAMES)
def test_code_of_a_notebook_runs_at_smaller_sizes_with_outputs_where_it_had_some(name):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    cells, written = read(name)
    saved = [cell["outputs"] for cell in written["cells"] if cell["cell_type"] == "code"]
    text = (notebooks.FOLDER / f"{name}.py").read_text(encoding="utf-8")
    for size, smaller in SMALLER[name]:
        assert text.count(size) == 1, f"{size} occurs {text.count(size)} times"
        text = text.replace(size, smaller)
    cells = notebooks.cells_of(text)
    with jax.numpy_dtype_promotion("standard"):  # as users run it
        outputs = notebooks.run(cells, notebooks.FOLDER / f"{name}.py", {"__name__": "__main__"})
    assert kinds_of(outputs) == kinds_of(saved)


def kinds_of(outputs):
    """The kinds of outputs of each cell: what it prints, and what it shows."""
    return [[sorted(output.get("data", ["text"])) for output in of_cell] for of_cell in outputs]


SOURCE = """# %% [markdown]
# # Title
#
# Some *text*.

# %%
# %matplotlib inline
import math


def area(r):
    return math.pi * r**2


# %%
print("area")
print(area(1))
area(2)
"""


def test_cells_of_a_source_are_its_text_and_its_code():
    text, first, second = notebooks.cells_of(SOURCE)
    assert text == notebooks.Cell(False, "# Title\n\nSome *text*.", 1)
    function = "import math\n\n\ndef area(r):\n    return math.pi * r**2"
    assert first.source == f"# %matplotlib inline\n{function}"
    assert (second.is_code, second.line) == (True, 15)
    written = notebooks.notebook([text, first, second], [[], []])
    assert "".join(written["cells"][1]["source"]) == f"%matplotlib inline\n{function}"


def test_outputs_of_a_cell_are_what_it_prints_and_its_last_expression():
    outputs = notebooks.run(notebooks.cells_of(SOURCE), pathlib.Path("area.py"), {})
    printed = {"name": "stdout", "output_type": "stream", "text": ["area\n", "3.141592653589793\n"]}
    value = {"text/plain": ["12.566370614359172"]}
    assert outputs == [
        [],
        [printed, {"data": value, "metadata": {}, "output_type": "display_data"}],
    ]


def test_error_of_a_cell_names_its_line_in_the_source():
    cells = notebooks.cells_of(SOURCE.replace("area(2)", "area('2')"))
    with pytest.raises(TypeError) as error:
        notebooks.run(cells, pathlib.Path("area.py"), {})
    frames = traceback.extract_tb(error.tb)
    assert [frame.lineno for frame in frames if frame.filename == "area.py"] == [18, 12]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import math\n# %%\n", "before the first cell"),
        ("# %% [raw]\n# text\n", "line 1: '# %% .raw.'"),
        ("# %% [markdown]\ntext\n", "'text' in a cell of text is no comment"),
    ],
)
def test_source_that_is_no_notebook_is_refused(source, message):
    with pytest.raises(ValueError, match=message):
        notebooks.cells_of(source)
