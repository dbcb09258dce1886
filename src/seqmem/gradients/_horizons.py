"""How far a gradient reaches, in steps."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core.errors import bad_input


class Horizons(NamedTuple):
    """How far a curve over the lag reaches, in steps; inf where it does not fall within the curve,
    NaN where the curve is not finite.
    """

    decay: Float[Array, "*batch"]  # the first lag at which it is at most `fraction` of lag 0
    mass: Float[Array, "*batch"]  # the first lag up to which lies all but `epsilon` of its sum
    half_life: Float[Array, "*batch"]  # steps in which the straight line through its log halves


def gradient_horizons(
    curve: Float[Array, "lag *batch"], *, fraction: float = 0.36787944, epsilon: float = 0.01
) -> Horizons:
    """How far the gradient reaches, from its norms against the lag (`by_lag`).

    The half-life is ln 2 over the slope of the least-squares line through ln(norm) at the lags
    where the norm is above 0; it is negative where the gradient grows.

    Args:
        curve: norms, lag first.
        fraction: of the norm at lag 0, in (0, 1); 1/e unless said.
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
            raise bad_input(f"{name}={value}.", "a share between 0 and 1.", "leave it out.")
    if jnp.ndim(curve) < 1 or not len(curve):
        raise bad_input(
            f"a curve of shape {jnp.shape(curve)}.",
            "norms [lag, *batch], at least one lag.",
            "pass gradients.by_lag(flow.norm()).",
        )
    finite = jnp.isfinite(curve).all(0)
    lags = jnp.arange(len(curve), dtype=curve.dtype).reshape(-1, *[1] * (curve.ndim - 1))

    def first(reached: Array) -> Array:
        lag = jnp.where(reached.any(0), reached.argmax(0).astype(curve.dtype), jnp.inf)
        return jnp.where(finite, lag, jnp.nan)

    some = curve > 0
    count = jnp.maximum(some.sum(0), 1).astype(curve.dtype)
    log = jnp.log(jnp.where(some, curve, 1))
    middle = jnp.where(some, lags, 0).sum(0) / count
    off = jnp.where(some, lags - middle, 0)
    slope = (off * log).sum(0) / jnp.square(off).sum(0)
    sums = jnp.cumsum(curve, 0)
    return Horizons(
        decay=first(curve <= fraction * curve[0]),
        mass=first(sums >= (1 - epsilon) * sums[-1]),
        half_life=jnp.where(finite, -jnp.log(2.0).astype(curve.dtype) / slope, jnp.nan),
    )
