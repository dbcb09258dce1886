"""The mutation score of the quick tests: `python -m tests.mutate _core _methods --per-file 5`.

Each mutant changes one operator, number or truth value of one file. A child process imports the
mutated file, and runs tests that run its line: at most 30, which take `--test-seconds`. A mutant
that no test catches has survived; `explained.toml` says of some why no test can see them. Trials
are kept in build/mutate, and a later command continues there. Needs `pip install -e '.[mutate]'`.
"""

import argparse
import functools
import itertools
import signal
import sys
import time
from collections.abc import Iterator

import pytest

from . import children, results, table
from .mutants import Mutant, files_of, mutants_of
from .recording import ROOMS, is_fresh, quick_test_files, record
from .results import Trial
from .selection import Lines
from .trial import failed_tests, run_tests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", default=list(ROOMS), help="rooms or files of src/seqmem"
    )
    parser.add_argument("--per-file", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--test-seconds", type=float, default=25, help="of the tests of a mutant")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--survivors", action="store_true", help="try those that survived again")
    parser.add_argument("--as-recorded", action="store_true", help="record no test file again")
    parser.add_argument("--check", action="store_true", help="run what caught, without a mutant")
    parser.add_argument("--out", help="a folder for the results")
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends the children too
    children.import_libraries()
    if not options.as_recorded:
        update_records(options.jobs)
    mutants = sample(options.names, options.per_file, options.seed)
    reasons = results.read_explanations()
    done = {
        key
        for key, trial in results.read_trials().items()
        if trial.outcome != "survived"
        or results.is_explained(trial, reasons)
        or (trial.tests and not options.survivors)
    }
    waiting = [mutant for mutant in mutants if results.key_of(mutant) not in done]
    try_mutants(waiting, options.test_seconds, options.jobs, end)
    keys = {results.key_of(mutant) for mutant in mutants}
    trials = [trial for key, trial in results.read_trials().items() if key in keys]
    if options.check:
        trials = without_false_catches(trials, options.jobs)
    table.show(trials)
    if options.out:
        table.write(options.out, trials)


def update_records(jobs: int) -> None:
    """Records the test files that changed, or whose sources did."""
    stale = [name for name in quick_test_files() if not is_fresh(name)]
    tasks = [children.Task(functools.partial(record, name), 900, name) for name in stale]
    for ended in children.run_all(tasks, jobs):
        if ended.status != 0:
            sys.exit(f"{ended.output}\n{ended.tag} does not run, so it would catch every mutant.")
        print(f"recorded {ended.tag} in {ended.seconds} s", flush=True)


def sample(names: list[str], per_file: int, seed: int) -> list[Mutant]:
    """The same number from each file; the first of every file before the second of any."""
    rows = [itertools.islice(mutants_of(file, seed), per_file) for file in files_of(names)]
    turns = itertools.zip_longest(*rows)
    return [mutant for turn in turns for mutant in turn if mutant is not None]


def try_mutants(mutants: list[Mutant], test_seconds: float, jobs: int, end: float) -> None:
    """Writes a line for each trial as it ends."""
    lines = Lines(test_seconds)

    def tasks() -> Iterator[children.Task]:
        for mutant in mutants:
            if time.monotonic() > end:
                return
            tests = lines.chosen(mutant.file, mutant.line)
            limit = 60 + 3 * sum(lines.seconds[test] for test in tests)
            work = functools.partial(run_tests, tests, mutant.file, mutant.source)
            if tests:
                yield children.Task(work, limit, (mutant, tests))
            else:
                report(mutant, 0, "survived", 0.0)

    for ended in children.run_all(tasks(), jobs):
        mutant, tests = ended.tag
        if ended.status == pytest.ExitCode.USAGE_ERROR:
            sys.exit(f"{ended.output}\nTests are missing: leave out --as-recorded.")
        outcome = {None: "too long", 0: "survived"}.get(ended.status, "caught")
        if ended.status is not None and ended.status < 0:
            outcome = "crashed"
        report(mutant, len(tests), outcome, ended.seconds, next(failed_tests(ended.output), ""))


def report(mutant: Mutant, tests: int, outcome: str, seconds: float, by: str = "") -> None:
    trial = results.Trial(*results.key_of(mutant), outcome, tests, seconds, by)
    results.append(trial)
    if outcome == "survived":
        print(f"survived {mutant.file}:{mutant.line}")
        print(f"  {mutant.before}\n  {mutant.after}", flush=True)


def without_false_catches(trials: list[Trial], jobs: int) -> list[Trial]:
    """The trials, without those whose test also fails if nothing is mutated."""
    files: dict[str, set[str]] = {}
    for trial in trials:
        if trial.by:
            files.setdefault(trial.by.split("::")[0], set()).add(trial.by)
    tasks = [
        children.Task(functools.partial(run_tests, sorted(tests)), 600) for tests in files.values()
    ]
    outputs = [ended.output for ended in children.run_all(tasks, jobs)]
    failures = {test for output in outputs for test in failed_tests(output)}
    print(
        f"Without a mutant {len(failures)} tests fail of those that caught one.", *sorted(failures)
    )
    return [trial for trial in trials if trial.by not in failures]


if __name__ == "__main__":
    main()
