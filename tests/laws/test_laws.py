"""Every cell of the list keeps every law."""

import jax
import pytest
from tests.helpers.cells import CELLS, KINDS

import seqmem
from seqmem._testing.check import family_methods


@pytest.fixture(autouse=True)
def _compiled_anew():
    """No two tests here share a program, and those of one take a tenth of a gigabyte."""
    yield
    jax.clear_caches()


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_cell_keeps_every_law(name):
    """On the first method of its family; the others are slow."""
    cell = CELLS[name]()
    report = seqmem.testing.check_cell(cell, methods=[family_methods(cell)[0]])
    assert set(report.values()) == {"holds"}


@pytest.mark.slow
@pytest.mark.parametrize("name", CELLS)
def test_a_cell_keeps_every_law_on_every_method(name):
    """Those of `KINDS` have been tested on the first one."""
    cell = CELLS[name]()
    methods = family_methods(cell)[1 if name in KINDS else 0 :]
    assert set(seqmem.testing.check_cell(cell, methods=methods).values()) == {"holds"}


# Each family that Newton's methods serve, and each kind of state.
SOLVED = ["LSTM", "ProjectedLSTM", "GRU", "ResetBeforeGRU", "LRU", "S6", "MGU with_learned_state"]


@pytest.mark.slow
@pytest.mark.parametrize("method", [seqmem.Newton(chunk_size=3), seqmem.QuasiNewton(chunk_size=3)], ids=repr)
@pytest.mark.parametrize("name", [*SOLVED, "Stack"])
def test_a_cell_keeps_every_law_on_newtons_methods(name, method):
    assert set(seqmem.testing.check_cell(CELLS[name](), methods=[method]).values()) == {"holds"}


@pytest.mark.parametrize(
    "method", [seqmem.Scan(tile=3), seqmem.Scan(recompute=True), None], ids=repr
)
def test_a_method_keeps_every_law_by_itself(method):
    """Alone it is also the one that ensembles and second derivatives are made with."""
    report = seqmem.testing.check_cell(CELLS["IndRNN"](), methods=[method])
    assert set(report.values()) == {"holds"}
