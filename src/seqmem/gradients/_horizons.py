"""How far a gradient reaches back in time, in steps."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .._core.errors import bad_input


class Horizons(NamedTuple):
    """How far a curve over the lag reaches, in steps. inf says that the curve does not decay far
    enough, NaN that it is not finite.

    Attributes:
        decay: the first lag at which the curve is at most `fraction` of its value at lag 0.
        mass: the first lag up to which the curve has all but `epsilon` of its sum.
        half_life: steps in which the straight line through the logarithm of the curve halves.
    """

    decay: Float[Array, "*batch"]
    mass: Float[Array, "*batch"]
    half_life: Float[Array, "*batch"]


def gradient_horizons(
    curve: Float[Array, "lag *batch"], *, fraction: float = 0.36787944, epsilon: float = 0.01
) -> Horizons:
    """How far the gradient reaches back, from its norms against the lag (`by_lag`).

    The half-life is −ln 2 over the slope of the least-squares line through ln(norm), at the lags
    where the norm is above 0. It is negative where the gradient grows with the lag.

    Args:
        curve: norms, lag first.
        fraction: of the norm at lag 0, in (0, 1); the default is 1/e.
        epsilon: share of the sum, in (0, 1).

    Raises:
        ValueError: for a fraction or epsilon out of range, or a curve without a lag.

    Example:
        >>> import jax.numpy as jnp, seqmem
        >>> halves = 0.5 ** jnp.arange(20.0)
        >>> [round(float(steps), 3) for steps in seqmem.gradients.gradient_horizons(halves)]
        [2.0, 6.0, 1.0]
    """
    for name, value in {"fraction": fraction, "epsilon": epsilon}.items():
        if not 0 < value < 1:
            raise bad_input(
                f"gradient_horizons got {name}={value}.",
                "a number between 0 and 1.",
                "leave it out for the default.",
            )
    if jnp.ndim(curve) < 1 or not len(curve):
        raise bad_input(
            f"gradient_horizons got a curve of shape {jnp.shape(curve)}.",
            "norms [lag, *batch], at least one lag.",
            "pass gradients.by_lag(flow.norm()).",
        )
    is_finite = jnp.isfinite(curve).all(0)
    sums = jnp.cumsum(curve, 0)
    half_life = -jnp.log(2.0).astype(curve.dtype) / _log_slope(curve)
    return Horizons(
        decay=jnp.where(is_finite, _first_lag(curve <= fraction * curve[0], curve), jnp.nan),
        mass=jnp.where(is_finite, _first_lag(sums >= (1 - epsilon) * sums[-1], curve), jnp.nan),
        half_life=jnp.where(is_finite, half_life, jnp.nan),
    )


def _first_lag(
    is_reached: Bool[Array, "lag *batch"], curve: Float[Array, "lag *batch"]
) -> Float[Array, "*batch"]:
    """The first lag at which a condition holds, in the curve's dtype; inf where it never does."""
    return jnp.where(is_reached.any(0), is_reached.argmax(0).astype(curve.dtype), jnp.inf)


def _log_slope(curve: Float[Array, "lag *batch"]) -> Float[Array, "*batch"]:
    """The slope of the least-squares line through ln(curve), where the curve is above 0."""
    lags = jnp.arange(len(curve), dtype=curve.dtype).reshape(-1, *[1] * (curve.ndim - 1))
    is_positive = curve > 0
    log_curve = jnp.log(jnp.where(is_positive, curve, 1))
    count = jnp.maximum(is_positive.sum(0), 1).astype(curve.dtype)
    mean_lag = jnp.where(is_positive, lags, 0).sum(0) / count
    centred_lags = jnp.where(is_positive, lags - mean_lag, 0)
    return (centred_lags * log_curve).sum(0) / jnp.square(centred_lags).sum(0)


def by_lag(
    curve: Float[Array, "time *batch"], lengths: Int[Array, "*batch"] | None = None
) -> Float[Array, "lag *batch"]:
    """A curve over time, indexed by the lag instead.

        entry k is curve[T − 1 − k],    T: the length of each sequence

    so entry 0 belongs to the last valid step. Entries before the first step are 0.

    Args:
        curve: such as `flow.norm()`.
        lengths: valid steps of each sequence; None is all of them.

    Example:
        >>> import jax.numpy as jnp, seqmem
        >>> curve = jnp.array([[1.0, 1.0], [2.0, 2.0], [3.0, 0.0]])
        >>> seqmem.gradients.by_lag(curve, jnp.array([3, 2])).T.tolist()
        [[3.0, 2.0, 1.0], [2.0, 1.0, 0.0]]
    """
    time = len(curve)
    if lengths is None:
        return curve[::-1]
    lags = jnp.arange(time).reshape(-1, *[1] * (curve.ndim - 1))
    steps = jnp.clip(lengths, 0, time) - 1 - lags
    values = jnp.take_along_axis(curve, jnp.maximum(steps, 0), 0)
    return jnp.where(steps >= 0, values, jnp.zeros_like(values))
