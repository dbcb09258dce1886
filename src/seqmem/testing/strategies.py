"""Hypothesis strategies of runs, to fuzz a cell or a method of your own (`pip install hypothesis`).

    from hypothesis import given
    from seqmem.testing import strategies

    @given(strategies.runs(my_cell))
    def test_my_cell_agrees_with_the_loop(run):
        run.check()

`python -m tests.fuzz` runs them over all cells, methods and wrappers of seqmem.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import hypothesis.strategies as st

from .._core.cell import AbstractCell
from .._core.method import AbstractMethod
from .._methods.newton.newton import Newton
from .._methods.newton.quasi_newton import QuasiNewton
from .._testing.check import family_methods
from .._testing.sequence_run import SequenceRun

TIMES = (1, 2, 5, 8)
BATCHES = ((), (1,), (3,), (2, 2))
SCALES = (1.0, 0.0, 0.3, 3.0, 30.0)
NOISES = (0.0, 0.1, 1.0, 10.0)
INPUT_SCALES = (1.0, 0.0, 1e-3, 30.0, 1e4)


def methods(cell: AbstractCell) -> st.SearchStrategy[AbstractMethod | None]:
    """The default method, those of the cell's family, and Newton's method in chunks."""
    return st.sampled_from(_methods_of(cell))


@st.composite
def runs(
    draw: st.DrawFn,
    cell: AbstractCell,
    x: Any = None,
    *,
    methods: Sequence[AbstractMethod | None] | None = None,
) -> SequenceRun:
    """Runs of a cell: methods, sizes, flags, dtypes, and numbers from small to extreme.

    Args:
        cell: the cell.
        x: an example of an input, for a cell whose `input_shape` leaves sizes open.
        methods: the methods to run; None is all that `seqmem.testing.strategies.methods` has.
    """
    has_flag = st.tuples(st.booleans(), st.booleans(), st.booleans())
    has_lengths, has_padding, has_resets = draw(has_flag)
    run = SequenceRun(
        cell,
        draw(st.sampled_from(_methods_of(cell) if methods is None else methods)),
        time=draw(st.sampled_from(TIMES)),
        batch=draw(st.sampled_from(BATCHES)),
        lengths=() if has_lengths else None,
        padding=() if has_padding else None,
        resets=() if has_resets else None,
        reverse=draw(st.booleans()),
        remat_every=draw(st.sampled_from((None, 1, 3))),
        has_state=draw(st.booleans()),
        dtype=draw(st.sampled_from(("float64", "float32"))),
        x=x,
    )
    return draw(reruns(run))


@st.composite
def reruns(draw: st.DrawFn, run: SequenceRun) -> SequenceRun:
    """The same program with other numbers: lengths, padding, resets, scales and seeds. Nothing is
    compiled again for them.
    """
    places = st.tuples(st.integers(0, run.time - 1), st.integers(0, run.count - 1))
    some = st.lists(places, max_size=6, unique=True).map(lambda drawn: tuple(sorted(drawn)))
    lengths = st.lists(st.integers(0, run.time), min_size=run.count, max_size=run.count)
    return dataclasses.replace(
        run,
        lengths=None if run.lengths is None else tuple(draw(lengths)),
        padding=None if run.padding is None else draw(some),
        resets=None if run.resets is None else draw(some),
        param_scale=draw(st.sampled_from(SCALES)),
        param_noise=draw(st.sampled_from(NOISES)),
        input_scale=draw(st.sampled_from(INPUT_SCALES)),
        seed=draw(st.integers(0, 2**16)),
    )


def _methods_of(cell: AbstractCell) -> list[AbstractMethod | None]:
    return [None, *family_methods(cell), Newton(chunk_size=3), QuasiNewton(chunk_size=3)]
