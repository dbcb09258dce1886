"""What a run shows while it runs, and what stops it."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax

from .._core.errors import bad_input


def stop_where_not_finite(position: int, row: Mapping[str, float]) -> None:
    """Raise FloatingPointError where a metric is not finite and the step was not skipped.

    A step that left everything as it was says so by a metric `skipped` that is not 0.
    """
    wrong = [f"{name} {value}" for name, value in row.items() if not math.isfinite(value)]
    if wrong and not row.get("skipped"):
        raise FloatingPointError(
            f"step {position} gave {', '.join(wrong)}.\n"
            "  Expected: finite numbers, or a step that is skipped and says so.\n"
            "  What to do: a smaller rate, clipping, or a step that skips; or another watch."
        )


def scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics as plain numbers, once they are computed.

    Raises:
        ValueError: where one is no scalar.
    """
    found = jax.device_get(dict(metrics))
    for name, value in found.items():
        if jax.numpy.ndim(value) != 0:
            raise bad_input(
                f"metric {name} of shape {value.shape}.",
                "scalars.",
                "reduce it in the step, or give one name to each of its entries.",
            )
    return {
        name: getattr(value, "item", lambda value=value: value)() for name, value in found.items()
    }


@contextlib.contextmanager
def progress_bar(
    steps: int, position: int, wanted: bool
) -> Iterator[Callable[[Mapping[str, float]], None]]:
    """A function to call with the row of each step: it shows a bar, where tqdm is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        wanted = False
    if not wanted:
        yield lambda row: None
        return
    with tqdm(total=steps, initial=position, unit="step", dynamic_ncols=True) as bar:  # pyright: ignore

        def show(row: Mapping[str, float]) -> None:
            bar.set_postfix({k: v for k, v in row.items() if k != "position"}, refresh=False)
            bar.update()

        yield show
