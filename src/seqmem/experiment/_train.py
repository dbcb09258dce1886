"""The training loop."""

import contextlib
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from .._core.errors import bad_input
from .._core.validation import check_count
from ._arrays import strip_weak_types
from ._callbacks import stop_if_nonfinite
from ._checkpoints import Checkpoints
from ._metrics import Metrics
from ._progress import Progress
from ._progress_bar import progress_bar as show_progress_bar
from ._scalars import as_scalars
from ._validation import Validation

State = TypeVar("State", bound=PyTree)


def train(
    step: Callable[[State, Any], tuple[State, Mapping[str, Any]]],
    state: State,
    batch_at: Callable[[PRNGKeyArray, int], Any],
    *,
    key: PRNGKeyArray,
    steps: int,
    folder: str | os.PathLike | None = None,
    checkpoints: Checkpoints | None = None,
    validation: Validation | None = None,
    tokens: int | str | None = None,
    on_step: Callable[[int, Mapping[str, float]], None] = stop_if_nonfinite,
    progress_bar: bool = True,
) -> tuple[State, Progress]:
    """Run a training step until there are `steps` of them, or until early stopping.

    With checkpoints, a run that was interrupted at any moment and is started again by the same call
    resumes from its last checkpoint, and ends with the same bits as one that was not interrupted:
    the checkpoint holds the training state and the key, the data are a function of key and
    position, and the tables are truncated to the rows before the checkpoint. While the devices run
    a step, the next batch is made and sent to them. No thread is used, so several processes do
    everything in the same order.

    Args:
        step: jitted function (state, batch) -> (state, metrics), the metrics a dict of scalars. It
            may donate the state.
        state: the training state: a tree of all arrays that a step changes, such as the parameters,
            the optimiser's state and random keys.
        batch_at: the batch at a position, a pure function of the key and the position (0, 1, ...).
        key: random key for the data.
        steps: number of steps of the whole run, >= 0.
        folder: folder for the tables "training" and "validation" (`Metrics`): a new one, or that of
            the run to resume. None writes no table.
        checkpoints: where checkpoints are saved: every `checkpoints.every` steps, at the beginning,
            at the end, and at each best validation.
        validation: the validation metrics, when they are computed, and early stopping.
        tokens: number of tokens in a batch, or the metric that holds it, for the metric
            "tokens_per_second".
        on_step: called with the number (from 1) and the metrics of each step. It may raise an
            exception to stop the run; that step is in the table, and in no checkpoint.
        progress_bar: whether to show a progress bar with the metrics, if tqdm is installed.

    Returns:
        The training state after the last step, which need not be the best one, and the progress:
        position (number of steps), validations, best_loss, since_best.

    Raises:
        ValueError: where an argument is out of range, where another run writes in the folder of
            the checkpoints, where the checkpoint is of another run or damaged, or where the tables
            do not hold the rows that were written before it.
        OSError: where a row or a checkpoint could not be written, such as on a full disk. Start
            again when there is space.
        FloatingPointError: from the default `on_step`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from seqmem.experiment import train
        >>> step = jax.jit(lambda w, x: (w - 0.5 * (w - x), {"loss": (w - x) ** 2}))
        >>> noise = lambda key, position: jax.random.normal(jax.random.fold_in(key, position))
        >>> key = jax.random.key(0)
        >>> _, progress = train(step, jnp.zeros(()), noise, key=key, steps=7, progress_bar=False)
        >>> progress.position
        7
    """
    check_count("train", "steps", steps, at_least=0)
    patience = None if validation is None else validation.patience
    is_first_process = jax.process_index() == 0
    state, progress = strip_weak_types(state), Progress()
    with contextlib.ExitStack() as stack:
        is_resumed, saved_checksums = False, {}
        if checkpoints is not None:
            stack.enter_context(checkpoints.hold())
            is_resumed = bool(checkpoints.positions())
            if is_resumed:
                state, progress, saved_checksums = _restore(checkpoints, state, key)
        tables = {}
        if folder is not None and is_first_process:
            resumed = progress if is_resumed else None
            tables = _open_tables(stack, folder, resumed, saved_checksums)

        def save(value: float | None = None) -> None:
            if checkpoints is not None:
                for table in tables.values():
                    table.sync()
                run = {"state": state, "key": key}
                checksums = {name: table.checksums for name, table in tables.items()}
                metadata = {"progress": progress._asdict(), "tables": checksums}
                checkpoints.save(progress.position, run, metadata, value=value)

        def prefetch(position: int) -> Any:
            return _send(batch_at(key, position)) if position < steps else None

        if not is_resumed:
            save()
        bar = show_progress_bar(
            steps, progress.position, is_visible=progress_bar and is_first_process
        )
        update_bar = stack.enter_context(bar)
        batch = prefetch(progress.position)
        while not progress.is_finished(steps, patience):
            start, position = time.perf_counter(), progress.position + 1
            state, metrics = step(state, batch)
            batch = prefetch(position)
            metrics = {"position": position, **as_scalars(metrics)}
            state, progress = strip_weak_types(state), progress._replace(position=position)
            if tokens is not None:
                count = metrics[tokens] if isinstance(tokens, str) else tokens
                metrics["tokens_per_second"] = count / (time.perf_counter() - start)
            if tables:
                tables["training"].write(metrics)
            update_bar(metrics)
            on_step(position, metrics)
            loss = None
            if validation is not None and position % validation.every == 0:
                metrics = {"position": position, **as_scalars(validation.metrics(state))}
                loss, progress = metrics.get("loss"), progress.after_validation(metrics)
                if tables:
                    tables["validation"].write(metrics)
            is_best = loss is not None and progress.since_best == 0
            is_due = checkpoints is not None and position % checkpoints.every == 0
            if is_best or is_due or progress.is_finished(steps, patience):
                save(loss)
    return state, progress


def _restore(
    checkpoints: Checkpoints, state: State, key: PRNGKeyArray
) -> tuple[State, Progress, dict[str, list[int]]]:
    """The training state and the progress of the last checkpoint, and the checksums of the tables.

    Raises:
        ValueError: where the run had another key, or was none of `train`.
    """
    run, metadata = checkpoints.restore({"state": state, "key": key})
    if not np.array_equal(jax.random.key_data(run["key"]), jax.random.key_data(key)):
        raise bad_input(
            f"another key than that of the run in {checkpoints.folder}.",
            "the key that the run started with: it determines the order of the data.",
            "pass that key, or another folder for another run.",
        )
    progress, tables = metadata.get("progress"), metadata.get("tables")
    if (
        not isinstance(progress, dict)
        or progress.keys() != set(Progress._fields)
        or not isinstance(tables, dict)
    ):
        raise bad_input(
            f"the metadata {metadata} of the last checkpoint in {checkpoints.folder}.",
            f"tables, and progress with {', '.join(Progress._fields)}, which train writes.",
            "pass another folder; this one has checkpoints of another program.",
        )
    return run["state"], Progress(**progress), tables


def _open_tables(
    stack: contextlib.ExitStack,
    folder: str | os.PathLike,
    resumed: Progress | None,
    checksums: Mapping[str, Sequence[int]],
) -> dict[str, Metrics]:
    """The tables of a run, truncated to the rows before its last checkpoint."""
    keep_rows = {"training": None, "validation": None}
    if resumed is not None:
        keep_rows = {"training": resumed.position, "validation": resumed.validations}
    return {
        name: stack.enter_context(
            Metrics(pathlib.Path(folder, name), keep_rows=rows, checksums=checksums.get(name))
        )
        for name, rows in keep_rows.items()
    }


def _send(batch: Any) -> Any:
    """Start copying a batch to the devices; JAX arrays stay on theirs."""
    jax_arrays, rest = eqx.partition(batch, lambda leaf: isinstance(leaf, jax.Array))
    return eqx.combine(jax_arrays, jax.device_put(rest))
