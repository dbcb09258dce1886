"""A run that is killed at random moments ends with the bits of one that is not.

    python -m tests.experiment.kill_and_resume [--seed SEED] [--kills 10] [--processes 2]
    python -m tests.experiment.kill_and_resume --kills 100              # about ten minutes

A small character model with an LSTM, Adam, a carried state and random replacement of inputs is
trained in a process, which is killed by SIGKILL and started again. The kill comes a random time
after a random step, and falls into compilation, a step, or the writing of a checkpoint; or, while
fewer than half of the kills have left an unfinished checkpoint, a random time after the start of
a save. A process takes few steps before it is killed, however fast the machine, so that all of the
kills come before the end. At the end the parameters, the optimiser's state, the cell's state, the
keys and the tables are compared with those of a run that was not killed.

With --processes 2 the run is a data-parallel one of two processes (`jax.distributed`), each with
half of the batch. One of them is killed, and the other at once, or after it has had up to a second
to go on alone.

At every fifth kill, another run has tried to train in the same folder before, and was refused.

Prints how many kills left an unfinished checkpoint, or an old one that was being deleted. Exits
with 1 where the bits differ.
"""

import argparse
import pathlib
import random
import tempfile
import time

from tests.experiment.character_run import EVERY
from tests.experiment.processes import Processes, differences, read_rows

MAX_AFTER = 2 * EVERY - 1  # to the second checkpoint of a process
MAX_STEPS = MAX_AFTER + EVERY + 1  # of a process before it is killed
MAX_DELAY = 0.2  # seconds from a random step to the kill; writing a checkpoint takes about half


def kill_once(rng: random.Random, run: Processes, save_seconds: float, *, in_save: bool) -> str:
    """Kill the processes of a run at a random moment.

    Args:
        rng: draws the moment.
        run: the processes.
        save_seconds: the time to write a checkpoint.
        in_save: whether the time begins at the next save, instead of at a random step.

    Returns:
        The moment, in words.
    """
    after = rng.randint(0, MAX_AFTER)
    if in_save:
        run.wait_for_save(after)
        seconds = rng.uniform(0, save_seconds)
        moment = f"{seconds:.3f} s after the start of a save"
    else:
        run.wait_for_steps(after)
        # After no step the imports are done, the compilation is not.
        seconds = rng.uniform(0, MAX_DELAY) * (1 if after else 10)
        moment = f"{seconds:.3f} s after {after} steps"
    time.sleep(seconds)
    run.kill(first=rng.randrange(run.count), alone=rng.choice([0, rng.uniform(0, 1)]))
    return moment


def kill_often(
    rng: random.Random, folder: pathlib.Path, options: argparse.Namespace, save_seconds: float
) -> tuple[int, int]:
    """Start a run and kill it, again and again.

    Returns:
        How many kills left an unfinished checkpoint, and how many one that was being deleted.
    """
    unfinished = deleting = 0
    for i in range(options.kills):
        run = Processes(folder, options.steps, options.processes, limit=MAX_STEPS)
        if i % 5 == 4:
            run.wait_for_steps(1)
            Processes(folder, options.steps, 1).expect_refusal("another run is writing")
        moment = kill_once(rng, run, save_seconds, in_save=2 * unfinished <= i)
        saved = sorted(path.name for path in (folder / "checkpoints").glob("[0-9]*"))
        unfinished += any("tmp" in name for name in saved)
        deleting += any(name.endswith("deleted") for name in saved)
        print(f"kill {i + 1}: {moment}, {run.num_steps} steps; {saved}", flush=True)
    return unfinished, deleting


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=None, help="of the moments; default: random")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=None, help="default: 12 for each kill")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    most = options.kills * MAX_STEPS
    options.steps = most + 1 if options.steps is None else options.steps
    if options.steps <= most:
        parser.error(f"the processes that are killed take up to {most} steps: pass more --steps")
    return options


def main() -> None:
    options = parse_options()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        expected, killed = pathlib.Path(place, "expected"), pathlib.Path(place, "killed")
        save_seconds = Processes(expected, options.steps, options.processes).run_to_end()
        print(f"writing a checkpoint takes {save_seconds:.3f} s", flush=True)
        unfinished, deleting = kill_often(random.Random(seed), killed, options, save_seconds)
        Processes(killed, options.steps, options.processes).run_to_end()
        different = differences(expected, killed)
        count = len(read_rows(expected, "training"))
    seconds = time.perf_counter() - start
    print(
        f"{options.kills} kills of {options.processes} process(es), {unfinished} of them left an "
        f"unfinished checkpoint, {deleting} an old one half deleted; {count} steps, {seconds:.0f} s"
    )
    if different:
        raise SystemExit(f"NOT the bits of the run that was not killed: {', '.join(different)}")
    print("the same bits as the run that was not killed")


if __name__ == "__main__":
    main()
