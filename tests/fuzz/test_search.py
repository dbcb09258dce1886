"""The fuzzer finds nothing in seqmem, and finds and shrinks a method that is wrong."""

import dataclasses
import math

import hypothesis.strategies as st
import jax
import pytest

import seqmem
from seqmem.testing import SequenceRun, strategies

from . import cells, search

CELL = seqmem.GRU(3, 4, key=jax.random.key(0))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_search_over_all_cells_finds_nothing(seed):
    result = search.search(math.inf, seed, batches=1)
    assert result.finding is None, result.finding
    assert result.runs > 20
    assert result.arrays > 4 * result.runs


@dataclasses.dataclass(frozen=True)
class WithoutResets(seqmem.AbstractMethod):
    """A method that forgets the resets."""

    def run(self, problem):
        flags = problem.flags._replace(reset=None)
        return seqmem.Scan().run(dataclasses.replace(problem, flags=flags))


@st.composite
def runs_without_resets(draw):
    return "cell", [draw(strategies.runs(CELL, methods=[WithoutResets()]))]


@pytest.mark.slow
def test_search_finds_a_method_that_forgets_resets(monkeypatch):
    monkeypatch.setattr(search, "SECONDS_TO_SHRINK", 0)
    result = search.search(math.inf, 0, batches=20, programs=runs_without_resets)
    assert result.finding is not None
    assert "resets=((" in result.finding
    assert result.finding.count("\n") < 10


@st.composite
def runs_of_any_time(draw):
    """The reset is at the first step, where it changes nothing, if there are at most two steps."""
    time = draw(st.integers(1, 11))
    resets = ((time // 3, 0),)
    return "cell", [SequenceRun(CELL, WithoutResets(), time, resets=resets)]


@pytest.mark.slow
def test_search_shrinks_a_run_that_does_not_agree(monkeypatch):
    """One draw, on which the fault depends monotonically, so the smallest one is found."""
    monkeypatch.setattr(search, "SECONDS_TO_SHRINK", math.inf)
    result = search.search(math.inf, 0, batches=20, programs=runs_of_any_time)
    assert result.finding is not None
    assert "time=3, resets=((1, 0),)" in result.finding


def test_code_of_every_cell_makes_the_cell():
    codes = cells.cell_codes()
    assert len(codes) > 90
    for name in ("LSTM", "GatedDeltaRule", "CausalConv"):
        assert type(cells.make(codes[name])) is getattr(seqmem, name)


def test_wrapper_that_refuses_a_cell_is_left_out():
    code = cells.WRAPPERS["with_layer_norm"].format(cells.cell_codes()["LRU"])
    assert cells.make(code) is None
