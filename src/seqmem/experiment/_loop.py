"""A loop of training, made of the parts."""

import contextlib
import os
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from .._core.errors import bad_input
from ..training._devices import sent
from ._checkpoints import Checkpoints
from ._leaves import strong
from ._metrics import Metrics
from ._progress import Progress, check_counts
from ._watching import progress_bar, scalars, stop_where_not_finite

Training = TypeVar("Training", bound=PyTree)


def train(
    step: Callable[[Training, Any], tuple[Training, Mapping[str, Any]]],
    training: Training,
    batches: Callable[[PRNGKeyArray, int], Any],
    *,
    key: PRNGKeyArray,
    steps: int,
    folder: str | os.PathLike | None = None,
    checkpoints: Checkpoints | None = None,
    checkpoint_every: int = 1000,
    validate: Callable[[Training], Mapping[str, Any]] | None = None,
    validate_every: int = 1000,
    patience: int | None = None,
    tokens: int | str | None = None,
    watch: Callable[[int, Mapping[str, float]], None] = stop_where_not_finite,
    bar: bool = True,
) -> tuple[Training, Progress]:
    """Make steps until there are `steps` of them, or validation no longer gets better.

    With checkpoints, a run that was ended anywhere and is started again by the same call goes on
    from the last one and ends with the bits it would have ended with: the checkpoint holds
    `training` and the key, data come from key and position, and tables are cut back to it.
    While the devices make a step, the next batch is prepared and sent to them; then the step's
    metrics are waited for. No thread does it, so what several processes do has one order.

    Args:
        step: jitted, `(training, batch) -> (training, metrics)`, metrics a dict of scalars. It may
            donate; then `training` as given is gone.
        training: all that a step changes, a tree of arrays: model, optimiser, states, keys.
        batches: the batch at a position, a pure function of the key and the position (0, 1, ...).
        key: for the data.
        steps: how many in all, >= 0.
        folder: for the tables "training" and "validation" (`Metrics`); a new one, or that of the
            checkpoints' run.
        checkpoints: where they are kept.
        checkpoint_every: steps between two, > 0. There is one at the beginning, at the end and at
            each best validation too.
        validate: `training -> metrics` with a "loss"; it must not donate.
        validate_every: steps between two validations, > 0.
        patience: stop after so many validations without a new best one, > 0.
        tokens: how many a batch holds, or the metric that says so, for tokens per second.
        watch: called with the number (from 1) and the row of each step; it may raise.
        bar: show progress and metrics, where tqdm is installed.

    Returns:
        `training` after the last step, not the best one, and how far the run came.

    Raises:
        ValueError: where an argument is out of range, the checkpoint is of another run or damaged,
            or the tables hold less than it says.
        FloatingPointError: by the default `watch`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from seqmem.experiment import train
        >>> step = jax.jit(lambda w, x: (w - 0.5 * (w - x), {"loss": (w - x) ** 2}))
        >>> noise = lambda key, position: jax.random.normal(jax.random.fold_in(key, position))
        >>> train(step, jnp.zeros(()), noise, key=jax.random.key(0), steps=7, bar=False)[1].position
        7
    """
    check_counts(steps, checkpoint_every, validate_every, patience)

    def ahead(position: int) -> Any:
        return sent(batches(key, position)) if position < steps else None

    def save(loss: float | None = None) -> None:
        if checkpoints is not None:
            for table in tables.values():
                table.sync()
            held, note = {"training": training, "key": key}, progress._asdict()
            checkpoints.save(progress.position, held, note, value=loss)

    tables: dict[str, Metrics] = {}
    progress, training, first = Progress(), strong(training), jax.process_index() == 0
    resumed = False
    if checkpoints is not None and (resumed := bool(checkpoints.positions())):
        training, progress = _resumed(checkpoints, training, key)
    with contextlib.ExitStack() as stack:
        if folder is not None and first:
            kept = {"training": progress.position, "validation": progress.validations}
            for name, rows in kept.items():
                table = Metrics(pathlib.Path(folder, name), rows=rows if resumed else None)
                tables[name] = stack.enter_context(table)
        if not resumed:
            save()
        show = stack.enter_context(progress_bar(steps, progress.position, bar and first))
        batch = ahead(progress.position)
        while not progress.over(steps, patience):
            start, position = time.perf_counter(), progress.position + 1
            training, metrics = step(training, batch)
            batch = ahead(position)
            row = {"position": position, **scalars(metrics)}
            training, progress = strong(training), progress._replace(position=position)
            if tokens is not None:
                count = row[tokens] if isinstance(tokens, str) else tokens
                row["tokens_per_second"] = count / (time.perf_counter() - start)
            if tables:
                tables["training"].write(row)
            show(row)
            watch(position, row)
            loss = None
            if validate is not None and position % validate_every == 0:
                row = {"position": position, **scalars(validate(training))}
                loss, progress = row.get("loss"), progress.validated(row)
                if tables:
                    tables["validation"].write(row)
            best = loss is not None and progress.since_best == 0
            due = best or position % checkpoint_every == 0 or progress.over(steps, patience)
            if due:
                save(loss)
    return training, progress


def _resumed(
    checkpoints: Checkpoints, training: Training, key: PRNGKeyArray
) -> tuple[Training, Progress]:
    held, note = checkpoints.restore({"training": training, "key": key})
    if not np.array_equal(jax.random.key_data(held["key"]), jax.random.key_data(key)):
        raise bad_input(
            f"another key than that of the run in {checkpoints.folder}.",
            "the key it was begun with: the order of the data comes from it.",
            "give that key, or another folder for another run.",
        )
    return held["training"], Progress(**note)
