"""How long training sequences should be: the smallest window with a small truncation bias."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from .._core.errors import bad_input
from .._core.trees import tree_norm
from .._core.validation import check_count
from .._methods.scan.scan import Scan
from ._truncation_bias import Bias, bias_between, gradient_with, truncated_method


class Recommendation(NamedTuple):
    """The result of `recommend_window`.

    Attributes:
        window: the smallest window that is within the bias, in steps.
        windows: all windows that were measured, in ascending order.
        relative: [window, batch]: ‖g' − g‖ / ‖g‖ of each.
        cosine: [window, batch]: ⟨g', g⟩ / (‖g'‖ ‖g‖) of each.
    """

    window: int
    windows: np.ndarray
    relative: np.ndarray
    cosine: np.ndarray

    @property
    def bound(self) -> np.ndarray:
        """[window]: mean + 2 standard errors of the relative bias over the batches; the mean where
        there is one batch.
        """
        num_batches = self.relative.shape[1]
        mean = self.relative.mean(1)
        if num_batches < 2:
            return mean
        return mean + 2 * self.relative.std(1, ddof=1) / math.sqrt(num_batches)


def recommend_window(
    loss: Callable,
    model: PyTree,
    batches: Iterable[Sequence[Any]],
    *,
    time: int,
    bias: float = 0.1,
) -> Recommendation:
    """The smallest truncation window whose gradient is within `bias` of the full gradient.

    A window is accepted where mean + 2 standard errors of ‖g' − g‖ / ‖g‖ over the batches is at
    most `bias`, and the mean cosine is at least √(1 − bias²), the least that a gradient at this
    distance can have. Windows of powers of two are tried first, then the interval between the last
    that fails and the first that is accepted is bisected. Each window is a program of its own:
    about 2 log₂(time) compilations.

    Args:
        loss: as in `truncation_bias`; called as loss(model, *batch, method=...).
        model: the model at the stage of training that is asked about.
        batches: tuples of further arguments of the loss, all of the same shapes.
        time: steps that one batch is unrolled for, the longest window, >= 1.
        bias: relative, in (0, 1).

    Raises:
        ValueError: without a batch, for a bias or a time out of range, or where a full gradient is
            not finite.

    Example:
        >>> import jax, seqmem
        >>> def loss(cell, xs, method):
        ...     return (seqmem.unroll(cell, None, xs, method=method)[1] ** 2).sum()
        >>> cell, xs = seqmem.GRU(3, 5, key=jax.random.key(0)), jax.numpy.ones((16, 3))
        >>> result = seqmem.gradients.recommend_window(loss, cell, [(xs,)], time=16, bias=0.2)
        >>> 1 <= result.window <= 16
        True
    """
    batches = list(batches)
    check_count("recommend_window", "time", time, remedy="pass the number of steps in a batch.")
    if not batches or not 0 < bias < 1:
        raise bad_input(
            f"recommend_window got {len(batches)} batches and bias={bias}.",
            "at least one batch, and a bias between 0 and 1.",
            "pass a few batches, as tuples of the loss's further arguments.",
        )
    full_gradient = jax.jit(gradient_with(loss, Scan()))
    full = [full_gradient(model, *batch) for batch in batches]
    if not all(bool(jnp.isfinite(tree_norm(gradient))) for gradient in full):
        raise bad_input(
            "recommend_window got a loss whose full gradient is not finite.",
            "a loss whose gradient through all steps is finite.",
            "see where it explodes with gradients.value_grad_and_flow, or pass shorter inputs.",
        )
    measured: dict[int, list[Bias]] = {}

    def is_accepted(window: int) -> bool:
        truncated = gradient_with(loss, truncated_method(window))

        @jax.jit
        def measure(model: PyTree, batch: Sequence[Any], gradient: PyTree) -> Bias:
            return bias_between(truncated(model, *batch), gradient)

        pairs = zip(batches, full, strict=True)
        measured[window] = [measure(model, batch, gradient) for batch, gradient in pairs]
        result = _recommendation(window, {window: measured[window]})
        return bool(result.bound[0] <= bias and result.cosine.mean() >= math.sqrt(1 - bias**2))

    window = _smallest_window(is_accepted, time)
    if window not in measured:
        is_accepted(window)
    return _recommendation(window, measured)


def _smallest_window(is_accepted: Callable[[int], bool], time: int) -> int:
    """The smallest accepted window, found by doubling and bisection; `time` is accepted unseen."""
    rejected, window = 0, 1
    while window < time and not is_accepted(window):
        rejected, window = window, min(2 * window, time)
    while window - rejected > 1:
        middle = (rejected + window) // 2
        if is_accepted(middle):
            window = middle
        else:
            rejected = middle
    return window


def _recommendation(window: int, measured: dict[int, list[Bias]]) -> Recommendation:
    windows = sorted(measured)
    relative = np.array([[float(bias.relative) for bias in measured[w]] for w in windows])
    cosine = np.array([[float(bias.cosine) for bias in measured[w]] for w in windows])
    return Recommendation(window, np.array(windows), relative, cosine)
