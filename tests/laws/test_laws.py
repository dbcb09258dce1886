"""Every cell of the list passes every law."""

import pytest

import seqmem
from seqmem._testing.check import family_methods
from tests.helpers.cells import CELLS, KINDS, SMALL

pytestmark = pytest.mark.usefixtures("free_programs")


@pytest.mark.parametrize("name", sorted(KINDS))
def test_cell_passes_every_law(name):
    """On the first method of its family; the others are slow."""
    cell = CELLS[name]()
    report = seqmem.testing.check_cell(cell, methods=[family_methods(cell)[0]])
    assert set(report.values()) == {"holds"}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(KINDS))
def test_cell_passes_every_law_on_every_method(name):
    """On the first one above."""
    cell = CELLS[name]()
    report = seqmem.testing.check_cell(cell, methods=family_methods(cell)[1:])
    assert set(report.values()) == {"holds"}


# Of a family's methods those that cut time, so that borders are within the few steps of a law.
CUT = {
    "gated": [seqmem.Scan(tile=3), seqmem.Scan(recompute=True)],
    "unstructured": [seqmem.Scan(tile=3), seqmem.Scan(recompute=True)],
    "diagonal": [seqmem.Scan(tile=3), seqmem.Parallel(chunk_size=3)],
    "block-diagonal": [seqmem.Scan(tile=3), seqmem.Parallel(chunk_size=3)],
    "fast weights": [seqmem.Scan(), seqmem.Parallel(chunk_size=2)],
    "window": [seqmem.Scan(), seqmem.Parallel()],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CELLS if name not in KINDS])
def test_cell_passes_every_law_on_methods_that_cut_time(name):
    """What else a family offers is the same code for all of its cells. Layers in series have one
    method.
    """
    cell = CELLS[name]()
    methods = CUT.get(cell.family.name) or family_methods(cell)[:1]
    methods = methods[:1] if name in SMALL else methods
    report = seqmem.testing.check_cell(cell, methods=methods)
    assert set(report.values()) == {"holds"}


# One of each family that Newton's methods run, of each structure of a Jacobian and of each kind of
# state.
SOLVED = ["LSTM", "ResetBeforeGRU", "LRU", "S6", "ParaLSTM", "UnICORNN", "MGU with_learned_state"]
SOLVED += ["Stack"]
SOLVED_BY = [(name, seqmem.Newton(chunk_size=3)) for name in SOLVED]
SOLVED_BY += [
    (name, seqmem.QuasiNewton(chunk_size=3))
    for name in ("LSTM", "LRU", "ParaLSTM", "MGU with_learned_state")
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "method"), SOLVED_BY, ids=str)
def test_cell_passes_every_law_on_newtons_methods(name, method):
    assert set(seqmem.testing.check_cell(CELLS[name](), methods=[method]).values()) == {"holds"}


@pytest.mark.parametrize(
    "method", [seqmem.Scan(tile=3), seqmem.Scan(recompute=True), None], ids=repr
)
def test_method_by_itself_passes_every_law(method):
    """Alone it also runs the ensembles and the second derivatives."""
    report = seqmem.testing.check_cell(CELLS["IndRNN"](), methods=[method])
    assert set(report.values()) == {"holds"}
