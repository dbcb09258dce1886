"""The tasks that `memory_tasks` trains on, by name, each with its default settings."""

import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import optax

from seqmem import tasks

from .memory_images import SequentialImages

Settings = Mapping[str, Any]
NONE: Settings = types.MappingProxyType({})


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
        test_examples: how many examples the test has.
        cell_options: further arguments of the cell.
        per_cell: other settings than these, by the name of a cell.
        published: what others have reported, by the name of a cell.
    """

    train: tasks.AbstractMemoryTask
    test: tasks.AbstractMemoryTask
    cells: tuple[str, ...] = ("LSTM chrono", "LRU", "gates [-1, 1]")
    width: int = 128
    learning_rate: float = 3e-3
    iterations: int = 1000
    optimiser: Callable[[float], optax.GradientTransformation] = clipped_adam
    is_long: bool = False
    test_examples: int = 256
    cell_options: Settings = NONE
    per_cell: Mapping[str, Settings] = NONE
    published: Mapping[str, str] = NONE

    def for_cell(self, name: str) -> "Problem":
        """The problem with the settings of a cell."""
        return self._replace(**self.per_cell.get(name, {}))


def same_task(task: tasks.AbstractMemoryTask, **settings: Any) -> Problem:
    """A problem whose training and test examples are of one task."""
    return Problem(task, task, **settings)


LONG_CELLS = ("LSTM chrono", "CoRNN", "LEM", "UnICORNN", "ExpRNN", "LinOSS", "TCN")
# Of CoRNN and LEM, the settings in the authors' programs for the same task; of the TCN, those of
# Bai et al. 2018, arXiv:1803.01271, table 2, for the longest sequences there. LinOSS is narrow: its
# two blocks of 64 units take several times as long as the other cells.
ADDING: dict[str, Settings] = {
    "CoRNN": {
        "learning_rate": 2e-2,
        "cell_options": {"dt": 0.06, "gamma": 66.0, "epsilon": 15.0},
    },
    "LEM": {"learning_rate": 2.6e-3, "cell_options": {"dt": 0.0242}},
    "LinOSS": {"width": 32, "learning_rate": 1e-3},
    "TCN": {"width": 24, "learning_rate": 2e-3},
}
COPY: dict[str, Settings] = {
    cell: {
        "width": 32 if cell == "LinOSS" else 64,
        "learning_rate": 3e-3,
        "iterations": 3000,
        "optimiser": clipped_adam,
    }
    for cell in LONG_CELLS
    if cell != "TCN"
}
IMAGES: dict[str, Settings] = {
    "CoRNN": {"learning_rate": 2.1e-3},
    "LEM": {"learning_rate": 1.8e-3, "cell_options": {"dt": 0.21}},
    "LinOSS": {"width": 32, "learning_rate": 1e-3},
    "TCN": {"width": 24, "learning_rate": 2e-3},
}


def long_adding(time: int, **published: str) -> Problem:
    """Adding, with cells of 64 units."""
    return same_task(
        tasks.Adding(time),
        cells=LONG_CELLS,
        width=64,
        learning_rate=2e-3,
        iterations=6000,
        is_long=True,
        per_cell=ADDING,
        published=published,
    )


def images(source: str, **settings: Any) -> Problem:
    """The class of an image, pixel by pixel."""
    return Problem(
        SequentialImages(source, "train"),
        SequentialImages(source, "test"),
        cells=LONG_CELLS,
        learning_rate=2e-3,
        is_long=True,
        per_cell=IMAGES,
        **settings,
    )


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
        per_cell=COPY,
        published={"TCN": "3.5e-5", "LSTM": "0.0204", "GRU": "0.0197"},  # Bai et al. 2018, table 1
    ),
    # LEM: arXiv:2110.04744, 128 units, 30,000 iterations of 50 sequences.
    "adding 1000": long_adding(1000),
    "adding 2000": long_adding(2000, LEM="5.3e-5"),
    "digits": images("digits", width=64, iterations=4000, test_examples=360),
    # LSTM, GRU and TCN: Bai et al. 2018, table 1; the others: the pages of the authors' programs
    # and arXiv:2110.04744.
    "sequential MNIST": images(
        "mnist",
        iterations=6000,
        test_examples=1000,
        published={
            "LSTM": "87.2 %",
            "GRU": "96.2 %",
            "TCN": "99.0 %",
            "CoRNN": "99.4 %",
            "LEM": "99.5 %",
            "UnICORNN": "98.4 %, permuted",
        },
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
