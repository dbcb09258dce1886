"""Lyapunov exponents of windows of time: their distribution, and errors of derived numbers."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from .._core.arguments import check_run
from .._core.batching import vmap_batch
from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.problem import State
from .._core.shapes import leading_axes
from .._core.validation import check_count
from ._lyapunov import sums_of_chunks
from ._step_map import StepMap
from ._tangent_frame import check_directions, random_frame
from ._trajectory import initial_states


class FiniteTimeExponents(NamedTuple):
    """The result of `finite_time_exponents`.

    Attributes:
        exponents: of each window, in nats per step, in the order of the directions.
        state: the state after the last window.
    """

    exponents: Float[Array, "windows *batch k"]
    state: State

    def histogram(self, bins: int = 50) -> tuple[Float[Array, "k bins"], Float[Array, " edges"]]:
        """The density of each exponent over windows and examples, and the edges of the bins.

        All exponents have the same edges, between the smallest and the largest that are finite.
        What is not finite is in no bin: the density integrates to the share of what is.

        Raises:
            ValueError: for a number of bins below 1.
        """
        check_count("histogram", "bins", bins, remedy="leave it out for 50.")
        samples = self.exponents.reshape(-1, self.exponents.shape[-1])
        is_finite = jnp.isfinite(samples)
        low = samples.min(where=is_finite, initial=jnp.inf)
        high = samples.max(where=is_finite, initial=-jnp.inf)
        edges = jnp.histogram_bin_edges(jnp.stack([low, high]), bins)

        def count(samples: Array, weights: Array) -> Array:
            return jnp.histogram(samples, edges, weights=weights)[0]

        finite_samples = jnp.where(is_finite, samples, low)
        counts = jax.vmap(count, in_axes=1)(finite_samples, is_finite.astype(samples.dtype))
        return counts / (len(samples) * jnp.diff(edges)), edges

    def estimate(
        self, function: Callable[[Array], Array]
    ) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """A function of the mean exponents, and its standard error, by the jackknife over windows.

            θ = f(mean_w λ_w),    error² = (W − 1)/W Σ_w (θ_{−w} − mean θ_{−w})²

        θ_{−w} is that of the mean without window w. It takes the correlations between exponents
        into account, which their standard errors alone do not. The error is NaN with one window.

        Source: Efron & Stein 1981, Annals of Statistics 9 (not read).

        Args:
            function: of exponents [..., k], such as `kaplan_yorke_dimension` or `entropy_rate`.
        """
        num_windows = len(self.exponents)
        value = function(self.exponents.mean(0))
        if num_windows < 2:
            return value, jnp.full_like(value, jnp.nan)
        # Nothing is subtracted from a sum: windows may have exponents of −∞.
        zero = jnp.zeros_like(self.exponents[:1])
        before = jnp.concatenate([zero, jnp.cumsum(self.exponents, axis=0)[:-1]])
        after = jax.lax.cumsum(jnp.concatenate([self.exponents[1:], zero]), reverse=True)
        without_one = function((before + after) / (num_windows - 1))
        return value, without_one.std(0) * (num_windows - 1) ** 0.5


def finite_time_exponents(
    cell: AbstractCell,
    state: State | None,
    xs: PyTree,
    *,
    window: int,
    k: int | None = None,
    key: PRNGKeyArray,
) -> FiniteTimeExponents:
    """The Lyapunov exponents of every window of `window` steps, along one trajectory.

        λ_i(w) = (1/window) Σ_{t in w} ln |R_t,ii|

    The directions run on from window to window, so the mean over the windows is what
    `lyapunov_exponents` returns for the same key. Their distribution says how uniform the system
    is: an exponent whose windows lie on both sides of 0 belongs to a network whose gradients both
    vanish and explode. `histogram` is that distribution, and `estimate` gives errors of what
    follows from the exponents.

    Cost per step: that of `lyapunov_exponents`. Memory: k numbers for each window.

    Args:
        cell: the cell, with a state of n real floating point entries.
        state: the state before the first step; None is `cell.init_state()`.
        xs: the inputs, [time, *batch, ...]; steps after the last full window are not run.
        window: steps of one window, >= 1. Windows longer than the memory of the process are
            independent samples.
        k: how many of the leading exponents; None is all n.
        key: random key for the first directions.

    Raises:
        ValueError: for k outside of 1 … n, a window below 1 or above the time, or a state that is
            complex or has no floating point entry.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> from seqmem import dynamics
        >>> cell, xs = seqmem.LSTM(2, 3, key=jax.random.key(0)), jnp.ones((300, 2))
        >>> key = jax.random.key(1)
        >>> result = dynamics.finite_time_exponents(cell, None, xs, window=50, key=key)
        >>> result.exponents.shape
        (6, 6)
        >>> dimension, error = result.estimate(dynamics.kaplan_yorke_dimension)
        >>> float(dimension), float(error)
        (0.0, 0.0)
    """
    check_run(cell, state, xs)
    size = StepMap.of(cell).size
    time, *batch = leading_axes(cell.input_shape, xs)
    k = size if k is None else k
    check_directions("finite_time_exponents", k, size, time)
    check_count("finite_time_exponents", "window", window, remedy="choose one, such as 100.")
    if window > time:
        raise bad_input(
            f"finite_time_exponents got window={window} for {time} steps.",
            "a window of at most the time.",
            "pass more inputs, or choose a shorter window.",
        )
    states = initial_states(cell, state, tuple(batch))
    return _of_batch(cell, states, xs, key, k=k, window=window, batch_axes=len(batch))


@functools.partial(jax.jit, static_argnames=("k", "window", "batch_axes"))
def _of_batch(cell, states, xs, key, *, k, window, batch_axes):
    def of_one(cell: AbstractCell, state: State, xs: PyTree) -> tuple[Array, State]:
        step_map = StepMap.of(cell)
        frame = random_frame(key, k, step_map, state)
        frame, sums, _ = sums_of_chunks(step_map, frame, xs, window)
        return sums.log_growth / window, frame.state

    of_all = vmap_batch(of_one, cell, batch_axes, in_axes=(0, 1), out_axes=(1, 0))
    return FiniteTimeExponents(*of_all(states, xs))
