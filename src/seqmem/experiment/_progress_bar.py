"""The progress bar of a run."""

import contextlib
from collections.abc import Callable, Iterator, Mapping


@contextlib.contextmanager
def progress_bar(
    steps: int, position: int, *, is_visible: bool
) -> Iterator[Callable[[Mapping[str, float]], None]]:
    """A progress bar, as a function to call with the metrics of each step.

    Args:
        steps: number of steps of the whole run.
        position: number of steps before the bar is shown.
        is_visible: whether to show it. Without tqdm it is never shown.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        is_visible = False
    if not is_visible:
        yield lambda metrics: None
        return
    with tqdm(total=steps, initial=position, unit="step", dynamic_ncols=True) as bar:  # pyright: ignore

        def update(metrics: Mapping[str, float]) -> None:
            bar.set_postfix({k: v for k, v in metrics.items() if k != "position"}, refresh=False)
            bar.update()

        yield update
