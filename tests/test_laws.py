"""Every cell of the list keeps every law."""

import pytest

import seqmem

from cells import CELLS


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_keeps_every_law(name):
    assert set(seqmem.testing.check_cell(CELLS[name]()).values()) == {"holds"}


@pytest.mark.parametrize(
    "method", [seqmem.Scan(block=3), seqmem.Scan(recompute=True), None], ids=repr
)
def test_a_method_keeps_every_law_by_itself(method):
    """Alone it is the one that ensembles and second derivatives are made with."""
    report = seqmem.testing.check_cell(CELLS["IndRNN"](), methods=[method])
    assert set(report.values()) == {"holds"}
