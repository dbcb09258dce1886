"""The laws of `seqmem.testing.check_cell` that say what a cell does over time, without the rest."""

from collections.abc import Sequence

import pytest

import seqmem
from seqmem._testing import check

# What transformations and perturbations make of a run is decided by the method and the family.
OF_METHODS = {"perturbations", "states", "examples", "mask", "ensembles", "second order"}


def check_laws_of_time(
    cell: seqmem.AbstractCell, methods: Sequence[seqmem.AbstractMethod], x: object = None
) -> None:
    """Test all laws but those of transformations and perturbations."""
    laws = {law: test for law, test in check.LAWS.items() if law not in OF_METHODS}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check, "LAWS", laws)
        report = seqmem.testing.check_cell(cell, x, methods=methods)
    assert report.keys() > laws.keys()
    assert set(report.values()) == {"holds"}
