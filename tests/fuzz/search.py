"""The search for a run that does not agree with the loop of single steps."""

import collections
import itertools
import time
from typing import NamedTuple

import hypothesis
import hypothesis.strategies as st
import jax

from seqmem.testing import SequenceRun, strategies

from . import cells

PROGRAMS_IN_MEMORY = 100  # then JAX forgets them, before Linux runs out of memory mappings
PROGRAMS_AT_ONCE = 10
RUNS_OF_A_PROGRAM = (1, 40, 40, 40)  # most have many, since compilation takes longer than 40 runs
SECONDS_TO_SHRINK = 120


class Search(NamedTuple):
    """What a search has done.

    Attributes:
        programs: that were compiled.
        runs: that were compared.
        arrays: that were compared.
        skipped: arrays in which rounding explains everything, or that are not finite in the loop.
        refusals: how many runs seqmem refused with each `ValueError`.
        finding: the smallest run that does not agree, as a program, with what differs; or None.
    """

    programs: int
    runs: int
    arrays: int
    skipped: int
    refusals: collections.Counter[str]
    finding: str | None


@st.composite
def programs(draw: st.DrawFn) -> tuple[str, list[SequenceRun]]:
    """The code of a cell, and runs of one compiled program."""
    code = draw(cells.codes())
    cell = cells.make(code)
    hypothesis.assume(cell is not None)
    run = draw(strategies.runs(cell))
    others = draw(st.sampled_from(RUNS_OF_A_PROGRAM)) - 1
    others = draw(st.lists(strategies.reruns(run), min_size=others, max_size=others))
    return code, [run, *others]


def search(seconds: float, seed: int, *, batches: int | None = None, programs=programs) -> Search:
    """Draw runs until a time is over, or one of them does not agree.

    Args:
        seconds: after which no further run is drawn.
        seed: of all that is drawn.
        batches: of ten programs each, after which the search ends too.
        programs: () -> a strategy of (code of a cell, runs of one compiled program).
    """
    record = Record(time.monotonic() + seconds)
    for batch in itertools.count() if batches is None else range(batches):
        if time.monotonic() > record.end:
            break
        test = hypothesis.settings(
            max_examples=PROGRAMS_AT_ONCE,
            database=None,
            deadline=None,
            verbosity=hypothesis.Verbosity.quiet,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
        )(hypothesis.given(programs())(record.check))
        try:
            hypothesis.seed(seed * 1_000_003 + batch)(test)()
        except Exception:
            if not record.findings:
                raise
            break
    return record.result()


class Record:
    """Checks what is drawn, and counts it."""

    def __init__(self, end: float):
        self.end = end
        self.programs = self.runs = self.arrays = self.skipped = 0
        self.refusals: collections.Counter[str] = collections.Counter()
        self.findings: list[str] = []

    def check(self, drawn: tuple[str, list[SequenceRun]]) -> None:
        if time.monotonic() > self.end:
            return
        code, runs = drawn
        self.programs += not self.findings
        if self.programs % PROGRAMS_IN_MEMORY == 0:
            jax.clear_caches()
        for run in runs:
            if cells.is_decided_by_rounding(code, run):
                continue
            try:
                comparison = run.check()
            except Exception as error:
                if type(error) is ValueError:  # JAX's error of dtypes is a subclass
                    self.refusals[str(error).split("\n")[0]] += 1
                    continue
                self._add(error, run.lines(code))
                raise
            if self.findings:
                continue
            self.runs += 1
            self.arrays += comparison.leaves
            self.skipped += comparison.skipped

    def _add(self, error: Exception, lines: str) -> None:
        reason = str(error).split("\n")[0]
        finding = f"# {type(error).__name__}: {reason}\n{lines}"
        if not self.findings:
            self.end = time.monotonic() + SECONDS_TO_SHRINK
            print(f"This run does not agree, and is made smaller:\n{finding}", flush=True)
        self.findings.append(finding)

    def result(self) -> Search:
        """The smallest finding is the last one that was tried."""
        finding = self.findings[-1] if self.findings else None
        return Search(self.programs, self.runs, self.arrays, self.skipped, self.refusals, finding)
