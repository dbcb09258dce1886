"""Every cell of the list passes every law."""

import pytest

import seqmem
from seqmem._testing.check import family_methods
from tests.helpers.cells import CELLS, KINDS

pytestmark = pytest.mark.usefixtures("free_programs")


@pytest.mark.parametrize("name", sorted(KINDS))
def test_cell_passes_every_law(name):
    """On the first method of its family; the others are slow."""
    cell = CELLS[name]()
    report = seqmem.testing.check_cell(cell, methods=[family_methods(cell)[0]])
    assert set(report.values()) == {"holds"}


@pytest.mark.slow
@pytest.mark.parametrize("name", CELLS)
def test_cell_passes_every_law_on_every_method(name):
    """A cell of `KINDS` is tested on the first one above."""
    cell = CELLS[name]()
    methods = family_methods(cell)[1 if name in KINDS else 0 :]
    assert set(seqmem.testing.check_cell(cell, methods=methods).values()) == {"holds"}


# One of each family that Newton's methods run, and of each kind of state.
SOLVED = ["LSTM", "ProjectedLSTM", "GRU", "ResetBeforeGRU", "LRU", "S6", "DLinOSS"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", [seqmem.Newton(chunk_size=3), seqmem.QuasiNewton(chunk_size=3)], ids=repr
)
@pytest.mark.parametrize("name", [*SOLVED, "MGU with_learned_state", "Stack"])
def test_cell_passes_every_law_on_newtons_methods(name, method):
    assert set(seqmem.testing.check_cell(CELLS[name](), methods=[method]).values()) == {"holds"}


@pytest.mark.parametrize(
    "method", [seqmem.Scan(tile=3), seqmem.Scan(recompute=True), None], ids=repr
)
def test_method_by_itself_passes_every_law(method):
    """Alone it also runs the ensembles and the second derivatives."""
    report = seqmem.testing.check_cell(CELLS["IndRNN"](), methods=[method])
    assert set(report.values()) == {"holds"}
