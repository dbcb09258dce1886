"""The tasks that `memory_tasks` trains on, by name, each with its default settings."""

from collections.abc import Callable
from typing import Any, NamedTuple

import optax

from seqmem import tasks


def clipped_adam(learning_rate: float | optax.Schedule) -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(learning_rate))


def halved_adam(learning_rate: float) -> optax.GradientTransformation:
    """`clipped_adam` whose learning rate, from iteration 600 on, is halved every 200 iterations."""
    schedule = optax.exponential_decay(learning_rate, 200, 0.5, transition_begin=600)
    return clipped_adam(schedule)


def pytorch_rmsprop(learning_rate: float) -> optax.GradientTransformation:
    """PyTorch's RMSprop, with which Bai et al. 2018 train the copy task. It has no clipping: their
    program calls the clipping before the gradient is computed, where it has no effect.
    """
    return optax.rmsprop(learning_rate, decay=0.99, eps=1e-8, eps_in_sqrt=False)


class Problem(NamedTuple):
    """A task for training, a task for the test, and settings that options override.

    Attributes:
        train: the task of the training examples.
        test: the task of the test examples.
        cells: names of the cells that are trained by default.
        width: entries of the state.
        learning_rate: of the optimiser.
        iterations: training steps.
        optimiser: made from the learning rate.
        is_long: whether the problem runs only when an option names it.
    """

    train: tasks.AbstractMemoryTask
    test: tasks.AbstractMemoryTask
    cells: tuple[str, ...] = ("LSTM chrono", "LRU", "gates [-1, 1]")
    width: int = 128
    learning_rate: float = 3e-3
    iterations: int = 1000
    optimiser: Callable[[float], optax.GradientTransformation] = clipped_adam
    is_long: bool = False


def same_task(task: tasks.AbstractMemoryTask, **settings: Any) -> Problem:
    """A problem whose training and test examples are of one task."""
    return Problem(task, task, **settings)


PROBLEMS: dict[str, Problem] = {
    "copy": same_task(tasks.CopyMemory(200), cells=("LRU",)),
    "long copy": same_task(
        tasks.CopyMemory(1000),
        cells=("TCN",),
        width=10,
        learning_rate=5e-4,
        iterations=5000,
        optimiser=pytorch_rmsprop,
        is_long=True,
    ),
    "selective copy": same_task(tasks.SelectiveCopy(64, 8), optimiser=halved_adam),
    "adding": same_task(tasks.Adding(200), cells=("LSTM chrono",)),
    "parity": Problem(
        tasks.parity(40, 3),
        tasks.parity(256, 40),
        cells=("gates [-1, 1]", "gates [0, 1]"),
        width=10,
        learning_rate=1e-2,
        iterations=2000,
    ),
    "S3": same_task(tasks.WordProblem(tasks.symmetric(3), 20)),
    "A5": same_task(tasks.WordProblem(tasks.alternating(5), 20)),
    "temporal order": same_task(tasks.TemporalOrder(100)),
    "recall": same_task(tasks.AssociativeRecall(64, 4, 64)),
    "induction": same_task(tasks.Induction(64)),
    "flip-flop": same_task(tasks.FlipFlop(128)),
}
