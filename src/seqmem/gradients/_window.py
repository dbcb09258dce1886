"""How long training sequences should be: what a truncation window costs, measured."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from .._core.errors import bad_input
from .._core.precision import inexact, split
from .._core.trees import tree_norm
from .._methods.scan.gradient_transforms import Detach
from .._methods.scan.scan import Scan


class Bias(NamedTuple):
    """How far a truncated gradient g' is from the whole one g."""

    relative: Float[Array, ""]  # ‖g' − g‖ / ‖g‖
    cosine: Float[Array, ""]  # ⟨g', g⟩ / (‖g'‖ ‖g‖)


def truncation_bias(loss: Callable, window: int) -> Callable:
    """How much of the gradient truncated backpropagation loses, the state being carried.

    The gradient is cut every `window` steps (`Detach`), as in training on windows of that length
    one after another; the loss itself is the same.

    Args:
        loss: a function of a model and anything else, which hands its keyword argument `method` to
            `seqmem.unroll`.
        window: in steps, at least 1; from the time on, there is no bias.

    Returns:
        A function of the same arguments but `method` that returns a `Bias`.

    Raises:
        ValueError: for a window below 1.

    Example:
        >>> import jax, seqmem
        >>> def loss(cell, xs, method):
        ...     return (seqmem.unroll(cell, cell.init_state(), xs, method=method)[1][-1] ** 2).sum()
        >>> cell, xs = seqmem.GRU(3, 5, key=jax.random.key(0)), jax.numpy.ones((8, 3))
        >>> float(seqmem.gradients.truncation_bias(loss, 8)(cell, xs).relative)
        0.0
    """
    cut = Scan(transform=Detach(window))

    def bias(model: PyTree, *args: Any, **options: Any) -> Bias:
        whole, truncated = (
            _gradient(loss, method)(model, *args, **options) for method in (Scan(), cut)
        )
        return compared(truncated, whole)

    return bias


def _gradient(loss: Callable, method: Scan) -> Callable:
    def gradient(model: PyTree, *args: Any, **options: Any) -> PyTree:
        moving, still = split(model)
        return jax.grad(
            lambda moving: loss(eqx.combine(moving, still), *args, method=method, **options)
        )(moving)

    return gradient


def compared(truncated: PyTree, whole: PyTree) -> Bias:
    """The `Bias` of one gradient against another, over all leaves."""
    apart = tree_norm(jax.tree.map(jnp.subtract, inexact(truncated), inexact(whole)))
    lengths = tree_norm(truncated), tree_norm(whole)
    along = jax.tree.map(
        lambda a, b: jnp.vdot(a / lengths[0].astype(a.dtype), b / lengths[1].astype(b.dtype)),
        truncated,
        whole,
    )
    return Bias(apart / lengths[1], sum(jax.tree.leaves(along), jnp.zeros_like(apart)))


class Recommendation(NamedTuple):
    """The window, and what was measured on the way to it."""

    window: int  # the smallest that keeps the bias
    windows: np.ndarray  # [window]: those that were measured, in order
    relative: np.ndarray  # [window, batch]
    cosine: np.ndarray  # [window, batch]

    @property
    def bound(self) -> np.ndarray:
        """[window]: mean + 2 standard errors of the relative bias over the batches."""
        batches = self.relative.shape[1]
        spread = self.relative.std(1, ddof=1) if batches > 1 else 0 * self.relative[:, 0]
        return self.relative.mean(1) + 2 * spread / math.sqrt(batches)


def recommend_window(
    loss: Callable,
    model: PyTree,
    batches: Iterable[Sequence[Any]],
    *,
    time: int,
    bias: float = 0.1,
) -> Recommendation:
    """The smallest truncation window that keeps the gradient within `bias` of the whole one.

    A window keeps it where mean + 2 standard errors of ‖g' − g‖ / ‖g‖ over the batches is at most
    `bias`, and the mean cosine at least √(1 − bias²), which is what a gradient that far off can
    have. Powers of two are tried first, then the steps between the last that fails and the first
    that keeps it are halved. Each window is a program of its own: some 2 log₂(time) compilations.

    Args:
        loss: as in `truncation_bias`; called as loss(model, *batch, method=...).
        model: at the moment of training that is asked about.
        batches: tuples of further arguments of the loss, the same shapes each.
        time: steps that one batch is unrolled for, the longest window.
        bias: relative, in (0, 1).

    Raises:
        ValueError: without a batch, for a bias or a time out of range, or where a gradient is not
            finite.

    Example:
        >>> import jax, seqmem
        >>> def loss(cell, xs, method):
        ...     return (seqmem.unroll(cell, cell.init_state(), xs, method=method)[1] ** 2).sum()
        >>> cell, xs = seqmem.GRU(3, 5, key=jax.random.key(0)), jax.numpy.ones((16, 3))
        >>> found = seqmem.gradients.recommend_window(loss, cell, [(xs,)], time=16, bias=0.2)
        >>> 1 <= found.window <= 16
        True
    """
    batches = list(batches)
    if not batches or time < 1 or not 0 < bias < 1:
        raise bad_input(
            f"{len(batches)} batches, time={time}, bias={bias}.",
            "at least one batch, at least one step, a bias between 0 and 1.",
            "pass a few batches, as tuples of the loss's further arguments.",
        )
    whole = [jax.jit(_gradient(loss, Scan()))(model, *batch) for batch in batches]
    if not all(bool(jnp.isfinite(tree_norm(one))) for one in whole):
        raise bad_input(
            "the whole gradient is not finite.",
            "a loss whose gradient through all steps is finite.",
            "look at value_and_grad's flow for where it explodes, or pass shorter inputs.",
        )
    measured: dict[int, list[Bias]] = {}

    def keeps(window: int) -> bool:
        cut = jax.jit(_gradient(loss, Scan(transform=Detach(window))))
        measured[window] = [
            jax.device_get(compared(cut(model, *batch), one))
            for batch, one in zip(batches, whole, strict=True)
        ]
        here = _found(window, {window: measured[window]})
        return bool(here.bound[0] <= bias and here.cosine.mean() >= math.sqrt(1 - bias**2))

    fails, window = 0, 1
    while window < time and not keeps(window):
        fails, window = window, min(2 * window, time)
    while window - fails > 1:
        middle = (fails + window) // 2
        fails, window = (fails, middle) if keeps(middle) else (middle, window)
    if window not in measured:
        keeps(window)
    return _found(window, measured)


def _found(window: int, measured: dict[int, list[Bias]]) -> Recommendation:
    windows = sorted(measured)
    relative = np.array([[float(one.relative) for one in measured[w]] for w in windows])
    cosine = np.array([[float(one.cosine) for one in measured[w]] for w in windows])
    return Recommendation(window, np.array(windows), relative, cosine)
