"""What all sections have: rows that are written one by one, an end, and threads that compile."""

import concurrent.futures
import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax

import seqmem

from ...common.machine import available_cores
from ...common.records import Row, as_json, environment, failure_text
from ...common.timing import Compiled, compile_program, time_queued

PACKAGES = (
    "jax",
    "jaxlib",
    "jax-cuda12-pjrt",
    "jax-cuda13-pjrt",
    "nvidia-cudnn-cu12",
    "nvidia-cudnn-cu13",
    "torch",
    "triton",
    "fla-core",
    "jax-linear-attention",
)
QUEUED_BYTES = 2**33  # outputs and temporaries of the calls that are queued at once
Build = Callable[[], tuple[Callable[..., Any], tuple[Any, ...]]]
Name = TypeVar("Name", bound=Hashable)
Result = TypeVar("Result")


class CannotRunError(Exception):
    """Why a row has no number, in a sentence."""


def no_figures(ms: float) -> Row:
    return {}


class Case(NamedTuple):
    """A program to be timed.

    Attributes:
        labels: what tells its row from the others.
        build: the function and its arguments; it raises where the program cannot run.
        figures: what the row says besides, given the milliseconds.
    """

    labels: Row
    build: Build
    figures: Callable[[float], Row] = no_figures


@dataclasses.dataclass(frozen=True)
class Section:
    """A section of a run.

    Attributes:
        name: of the section.
        rows: the file of JSON lines to which its rows are added.
        end: when its time is over, by its clock.
        smoke: whether all shapes are tiny.
        labels: what every row says.
        clock: seconds.
    """

    name: str
    rows: pathlib.Path
    end: float
    smoke: bool = False
    labels: Row = dataclasses.field(default_factory=dict)
    clock: Callable[[], float] = time.time

    def run(self, measure: Callable[["Section"], None]) -> None:
        """Measure the section. Its start is a row, so that the device of a section that is killed
        is known; so are an error of its own, and its end.
        """
        start = self.clock()
        self.write({"seconds": 0.0})
        try:
            measure(self)
        except Exception as error:
            self.write({"failure": failure_text(error)})
        self.write({"seconds": self.clock() - start})

    def write(self, row: Row) -> Row:
        """Add a row to the file at once, with its section, machine, versions and date."""
        row = {"section": self.name, **self.labels, **row, **_environment(), "smoke": self.smoke}
        append_row(self.rows, row)
        return row

    def attempt(self, labels: Row, measure: Callable[[], Row]) -> Row:
        """A row of what `measure` returns, or of why there is nothing."""
        if self.clock() >= self.end:
            return self.write(labels | {"failure": "the section's time was over"})
        try:
            return self.write(labels | measure())
        except CannotRunError as error:
            return self.write(labels | {"failure": str(error)})
        except Exception as error:
            return self.write(labels | {"failure": failure_text(error)})

    def run_side_by_side(
        self, jobs: Mapping[Name, Callable[[], Result]]
    ) -> dict[Name, Callable[[], Result]]:
        """Run jobs in as many threads as there are cores, until all are done or three quarters of
        the time that is left are over.

        Returns a function for each job, which returns its result, raises its error, or raises
        CannotRunError where it was not done in time. Most of a short run is XLA's compiling, of
        which each program takes about one core. Nothing is timed meanwhile: XLA itself times
        kernels on the device, to choose among them. What was not done in time goes on beside the
        timing.
        """
        pool = concurrent.futures.ThreadPoolExecutor(available_cores())
        futures = {name: pool.submit(job) for name, job in jobs.items()}
        concurrent.futures.wait(futures.values(), max(0.0, 0.75 * (self.end - self.clock())))
        pool.shutdown(wait=False, cancel_futures=True)

        def result(future: concurrent.futures.Future[Result]) -> Result:
            try:
                return future.result(timeout=0)
            except (concurrent.futures.CancelledError, concurrent.futures.TimeoutError):
                raise CannotRunError("it was not compiled in the section's time") from None

        return {name: functools.partial(result, future) for name, future in futures.items()}

    def measure(self, cases: Sequence[Case], compiled: Callable[[], None] = lambda: None) -> None:
        """A row for each case. All are compiled first; `compiled` is called then."""
        jobs = {i: functools.partial(build_and_compile, case.build) for i, case in enumerate(cases)}
        programs = self.run_side_by_side(jobs)
        compiled()
        for i, case in enumerate(cases):

            def times(case: Case = case, program: Any = programs.pop(i)) -> Row:
                figures = time_program(*program())
                return figures | case.figures(figures["ms"])

            self.attempt(case.labels, times)


def append_row(path: pathlib.Path, row: Row) -> None:
    with path.open("a") as file:
        file.write(as_json(row, indent=None))


def given(function: Callable[..., Any], *args: Any) -> Build:
    """A program whose arguments exist already."""
    return lambda: (function, args)


def build_and_compile(build: Build) -> tuple[Compiled, tuple[Any, ...]]:
    function, args = build()
    return compile_program(function, *args), args


def time_program(program: Compiled, args: tuple[Any, ...]) -> Row:
    """The times of a compiled program, its temporaries and the seconds of compiling."""
    call, seconds, temp_bytes, output_bytes = program
    most = QUEUED_BYTES // max(1, temp_bytes + output_bytes)
    figures = time_queued(functools.partial(call, *args), jax.block_until_ready, most=max(1, most))
    return figures | {"MiB": temp_bytes / 2**20, "compile_seconds": seconds}


def with_precision(function: Callable[..., Any], precision: str | None) -> Callable[..., Any]:
    """The function with its matrix products of float32 in a precision, in whatever thread it is
    traced.
    """

    def traced(*args: Any) -> Any:
        with jax.default_matmul_precision(precision):
            return function(*args)

    return traced


@functools.cache
def _environment() -> Row:
    record = environment(PACKAGES)
    return record | {"versions": {"seqmem": seqmem.__version__} | record["versions"]}
