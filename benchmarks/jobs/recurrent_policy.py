"""Reinforcement learning where the observation is not the state: policies with several memories.

    python -m benchmarks.jobs.recurrent_policy [--memories GRU none] [--seeds 3] [--updates 500]

An agent sees random cards and must name the one of `delay` steps ago: RepeatPrevious of POPGym with
independent cards, in JAX (`repeat_previous.py`). An episode has 24 cards, and a right or a wrong
answer counts ±1 of 20. Without a memory the best expected return is known: that of guessing, −0.5
with 4 suits. The best with one is 1.

PPO runs as one program: environments, the acting policy, and all updates. A rollout starts with the
states that acting has reached, and training computes the same states again from there, with a
reset where an episode begins. All memories have 32 units and the same settings, which were chosen
for none of them; "none" is a feed-forward layer with as many weights as the GRU. The seeds of a
memory train side by side.

The table has the return of the episodes in the last tenth of the updates, the steps of an
environment until the mean over 20 updates is above `SOLVED`, for the slowest seed, and steps of all
seeds per second, acting and training, without compilation.
"""

import argparse
import functools
import sys
import time

import jax
import numpy as np
from tqdm import tqdm

from ..common.curves import group_rows
from ..common.machine import load_note, track_other_load
from ..common.options import positive_float, positive_int
from ..common.records import (
    Row,
    markdown_table,
    provenance,
    versions_text,
    write_csv,
    write_record,
)
from ..common.timing import compile_program
from .recurrent_agent import MEMORIES, Policy, num_parameters
from .recurrent_figure import draw
from .recurrent_ppo import Settings, train
from .repeat_previous import RepeatPrevious

PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "optax", "numpy")
SETTINGS = ("environments", "time", "updates", "epochs", "minibatches", "size", "learning_rate")
SOLVED = 0.9
SMOOTHED = 20  # updates whose mean return decides whether the task is solved
POINTS = 50  # of a learning curve


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add, default = parser.add_argument, Settings()
    add("--memories", nargs="+", choices=MEMORIES, default=list(MEMORIES))
    add("--seeds", type=positive_int, default=3, help="policies of each memory")
    add("--delay", type=positive_int, default=RepeatPrevious().delay, help="steps to remember")
    for name in SETTINGS:
        value = getattr(default, name)
        kind = positive_int if isinstance(value, int) else positive_float
        add(f"--{name.replace('_', '-')}", type=kind, default=value)
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


def measure(
    name: str, environment: RepeatPrevious, settings: Settings, seeds: int
) -> tuple[Row, list[Row]]:
    """What the seeds of a memory reach, and their learning curves."""
    policy = Policy(
        name, environment.suits, environment.suits, settings.size, key=jax.random.key(0)
    )
    keys = jax.random.split(jax.random.key(0), seeds)
    program = compile_program(jax.vmap(functools.partial(train, name, environment, settings)), keys)
    other_cores, start = track_other_load(), time.perf_counter()
    returns = np.asarray(program.call(keys))  # [seed, update]
    seconds = time.perf_counter() - start
    last = np.nanmean(returns[:, -max(1, settings.updates // 10) :], 1)
    result = {
        "memory": name,
        "parameters": num_parameters(policy),
        "returns": last.tolist(),
        "solved_at": [steps_to_solve(curve, settings) for curve in returns],
        "steps_per_second": seeds * settings.steps / seconds,
        "seconds": seconds + program.seconds,
        "cores_taken": other_cores(),
    }
    return result, curve_of(name, returns, settings)


def steps_to_solve(returns: np.ndarray, settings: Settings) -> int | None:
    """The steps of all environments until the mean of some updates is above `SOLVED`."""
    width = min(SMOOTHED, len(returns))
    means = np.convolve(returns, np.ones(width) / width, "valid")
    above = np.flatnonzero(means > SOLVED)
    return int((above[0] + width) * settings.environments * settings.time) if above.size else None


def curve_of(name: str, returns: np.ndarray, settings: Settings) -> list[Row]:
    """The mean returns of consecutive updates."""
    rows = []
    for part in np.array_split(np.arange(settings.updates), min(POINTS, settings.updates)):
        steps = int(part[-1] + 1) * settings.environments * settings.time
        for seed, value in enumerate(np.nanmean(returns[:, part], 1)):
            rows.append({"memory": name, "seed": seed, "steps": steps, "return": float(value)})
    return rows


def report(record: Row) -> str:
    """The record in Markdown."""
    lines = []
    for row in record["memories"]:
        solved = row["solved_at"]
        lines.append(
            [
                row["memory"],
                f"{row['parameters']:,}",
                f"{np.mean(row['returns']):.2f}",
                f"{min(row['returns']):.2f}",
                "never" if None in solved else f"{max(solved):,}",
                f"{row['steps_per_second']:,.0f}",
                f"{row['seconds']:.0f}",
            ]
        )
    head = [
        "memory",
        "parameters",
        "return",
        "worst seed",
        f"steps to {SOLVED}",
        "steps/s",
        "seconds",
    ]
    settings = ", ".join(f"{name.replace('_', ' ')} {record[name]}" for name in SETTINGS)
    parts = [
        f"`{record['command']}`",
        f"{record['machine']}, {record['date']}. {versions_text(record)} "
        f"{load_note([row['cores_taken'] for row in record['memories']])}",
        f"The card of {record['delay']} steps ago, mean of {record['seeds']} seeds; the best "
        f"return is 1, and {record['chance']} without a memory. Seconds are of all seeds, with "
        f"compilation. PPO: {settings}.",
        markdown_table(head, lines),
    ]
    return "\n\n".join(parts)


def main() -> None:
    options = parse_options()
    environment = RepeatPrevious(delay=options.delay)
    settings = Settings(**{name: getattr(options, name) for name in SETTINGS})
    results, curves = [], []
    bar = tqdm(options.memories, unit="memory")
    for name in bar:
        bar.set_description(name)
        result, curve = measure(name, environment, settings, options.seeds)
        results.append(result)
        curves += curve
    record = provenance("benchmarks.jobs.recurrent_policy", PACKAGES) | {
        **{name: getattr(options, name) for name in (*SETTINGS, "seeds", "delay")},
        "chance": environment.chance,
        "memories": results,
    }
    print(report(record))
    paths = write_record(options.out, "recurrent_policy", record, report(record))
    paths += [paths[0].with_suffix(suffix) for suffix in (".csv", ".png")]
    write_csv(paths[-2], curves)
    draw(paths[-1], group_rows(curves, "memory"), environment.chance)
    for path in paths:
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
