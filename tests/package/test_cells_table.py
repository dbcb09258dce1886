"""`docs/cells.md` is what the classes say."""

import jax
import numpy as np
import pytest

import seqmem
from tests.helpers import cells_table


@pytest.mark.slow
def test_table_of_cells_is_up_to_date():
    written = cells_table.PATH.read_text(encoding="utf-8")
    assert written == cells_table.page(), f"run `{cells_table.COMMAND}` and commit docs/cells.md"


def test_cells_found_elsewhere_are_cells():
    assert cells_table.ELSEWHERE.keys() <= {cls.__name__ for cls in cells_table.cell_types()}


@pytest.mark.parametrize(
    ("sentence", "cost", "sequential"),
    [
        ("O(a · (b + c)), of which O(c²) is sequential.", "O(a · (b + c))", "O(c²)"),
        ("O(a), all of it sequential.", "O(a)", "O(a)"),
        ("O(a), none of it sequential.", "O(a)", "none"),
        ("O(a) once, and O(b) sequential from chunk to chunk only.", "O(a) + O(b)", "O(b), chunks"),
    ],
)
def test_cost_is_read_off_the_docstring(sentence, cost, sequential):
    doc = f"A cell. Shapes: x (a,). Cost per step: {sentence} Source: none."
    assert cells_table.cost_of(doc, "Cell") == (cost, sequential)


def test_docstring_without_a_cost_is_refused():
    with pytest.raises(ValueError, match="the docstring of Cell has no sentence"):
        cells_table.cost_of("A cell. Shapes: x (a,).", "Cell")


@pytest.mark.parametrize(
    ("cell_type", "size"),
    [
        (seqmem.LSTM, "2 · hidden"),
        (seqmem.S4D, "2 · input · state"),
        (seqmem.MLSTM, "hidden · (value + 1) + heads"),
        (seqmem.CausalConv, "input · (dilation · (width − 1) + 1)"),
    ],
)
def test_size_of_a_state_is_that_of_its_arrays(cell_type, size):
    """The formula, computed, is the number of entries of the initial state."""
    assert cells_table.state_of(cell_type) == size
    sizes = {name.removesuffix("_size"): value for name, value in cells_table.SIZES.items()}
    sizes |= {"heads": sizes["num_heads"], "value": sizes["hidden"] // sizes["num_heads"]}
    formula = size.replace("·", "*").replace("−", "-")
    init = cells_table.make(cell_type).init_state()
    entries = sum(leaf.view("float32").size for leaf in map(np.asarray, jax.tree.leaves(init)))
    assert eval(formula, {}, sizes) == entries
