"""Every cell of the list passes every law."""

import pytest

import seqmem
from seqmem._testing import transform_laws
from seqmem._testing.check import family_methods
from tests.helpers.cells import CELLS, KINDS
from tests.helpers.laws import check_laws_of_time
from tests.helpers.slow import slow_but

pytestmark = pytest.mark.usefixtures("free_programs")


# One of each family.
FAMILIES = {"LSTM", "ResetBeforeGRU", "LRU", "DeltaRule", "DepthwiseConv"}


@pytest.mark.parametrize("name", slow_but({"LSTM"}, sorted(KINDS)))
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


# Of a family's methods one that cuts time, so that borders are within the few steps of a law, and
# what a cell runs of another path.
TILES, RECOMPUTED = seqmem.Scan(tile=3), seqmem.Scan(recompute=True)
CUT = {
    "gated": [TILES, RECOMPUTED],
    "unstructured": [TILES, RECOMPUTED],
    "diagonal": [seqmem.Parallel(chunk_size=3), TILES],
    "block-diagonal": [seqmem.Parallel(chunk_size=3), TILES],
    "fast weights": [seqmem.Parallel(chunk_size=2), seqmem.Scan()],
    "window": [seqmem.Parallel(), seqmem.Scan()],
    "attention": [seqmem.Parallel(chunk_size=3), seqmem.Scan()],
}
# Cells with inputs, a state or writes of another structure than the cells above, on both methods;
# and cells with derivatives of their own, on one.
STRUCTURES = {
    *("ProjectedLSTM", "ParaLSTM", "SLSTM", "PhasedLSTM", "ConvLSTM", "LIF, recurrent", "GRUD"),
    *("RTU", "S5 with_delta_t", "DLinOSS"),
    *("KDA with_learned_state", "MLSTM", "MomentumDeltaRule", "DeltaProduct", "RWKV7", "MesaNet"),
    *("SlidingWindowAttention with_learned_state", "CausalAttention"),
}
DERIVATIVES = {"RGLRU", "LIF", "EchoState", "GatedKalmaNet", "DNC"}
# Cells whose one step is a large program, which a tile would repeat.
LARGE_STEPS = {"TTTLinear", "TTTMLP", "Titans", "Titans, chunks of one step", "NTM", "DNC"}


def cutting_methods(name):
    """Methods for one cell of the list; layers in series have one method."""
    cell = CELLS[name]()
    methods = [RECOMPUTED] if name in LARGE_STEPS else CUT.get(cell.family.name)
    methods = methods or family_methods(cell)
    return methods if name in STRUCTURES else methods[:1]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CELLS if name in STRUCTURES | DERIVATIVES])
def test_cell_passes_every_law_on_methods_that_cut_time(name, monkeypatch):
    """What else a family offers is the same code for all of its cells. Ensembles and second
    derivatives are those of the first method.
    """
    monkeypatch.setattr(transform_laws, "_first_and_last", lambda methods: methods[:1])
    report = seqmem.testing.check_cell(CELLS[name](), methods=cutting_methods(name))
    assert set(report.values()) == {"holds"}


@pytest.mark.parametrize(
    "name",
    slow_but(
        FAMILIES - {"LSTM"},
        [
            *sorted(FAMILIES - {"LSTM"}),
            *(name for name in CELLS if name not in KINDS | STRUCTURES | DERIVATIVES),
        ],
    ),
)
def test_cell_passes_the_laws_of_time_on_a_method_that_cuts_time(name):
    check_laws_of_time(CELLS[name](), cutting_methods(name))


# One of each family that Newton's methods run, of each structure of a Jacobian and of each kind of
# state.
SOLVED = ["LSTM", "ResetBeforeGRU", "LRU", "S6", "ParaLSTM", "UnICORNN", "MGU with_learned_state"]
SOLVED += ["Stack"]
SOLVED_BY = [(name, seqmem.Newton(chunk_size=3)) for name in SOLVED]
SOLVED_BY += [
    (name, seqmem.QuasiNewton(chunk_size=3))
    for name in ("LSTM", "LRU", "ParaLSTM", "MGU with_learned_state")
]


# One of each structure of a Jacobian.
WITH_EVERY_LAW = {"LSTM", "LRU", "ParaLSTM"}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "method"), SOLVED_BY, ids=str)
def test_cell_passes_the_laws_on_newtons_methods(name, method):
    """The laws of transformations and perturbations for one of each structure of a Jacobian."""
    if name in WITH_EVERY_LAW:
        report = seqmem.testing.check_cell(CELLS[name](), methods=[method])
        assert set(report.values()) == {"holds"}
    else:
        check_laws_of_time(CELLS[name](), [method])


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", [seqmem.Scan(tile=3), seqmem.Scan(recompute=True), None], ids=repr
)
def test_method_by_itself_passes_every_law(method):
    """Alone it also runs the ensembles and the second derivatives."""
    report = seqmem.testing.check_cell(CELLS["IndRNN"](), methods=[method])
    assert set(report.values()) == {"holds"}
