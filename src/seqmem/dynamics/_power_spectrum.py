"""How far apart the rhythms of two systems are: the distance between their power spectra."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._core.errors import bad_input
from ._state_space_divergence import check_states


def power_spectrum_distance(
    xs: Float[Array, "time *batch n"],
    ys: Float[Array, "time *batch2 n"],
    *,
    smoothing: float = 20.0,
) -> Float[Array, ""]:
    """D_H: the Hellinger distance between smoothed power spectra, the mean over the coordinates.

        H(p, q) = √(½ Σ_f (√p_f − √q_f)²)    in [0, 1]

    p_f and q_f are |FFT|² of a coordinate less its mean over time, smoothed over frequencies by a
    Gaussian of standard deviation `smoothing`, with sum 1. The Gaussian is cut off at four
    standard deviations, and the spectrum is mirrored at its ends. Over batch axes the power is
    averaged before it is smoothed.

    Source: Mikhaeil, Monfared & Durstewitz 2022, arXiv:2110.07238, and Hess et al. 2023,
    arXiv:2306.04406, by their program, DurstewitzLab/GTF-shPLRNN (`measures/pse.jl`), whose default
    for the smoothing is 20. The papers' text was not read.

    Args:
        xs: states of the true system.
        ys: states of the reconstruction, of the same time and time step.
        smoothing: in frequencies of the transform, 1 / (time · dt) apart, >= 0.

    Returns:
        D_H; NaN where a coordinate is constant.

    Raises:
        ValueError: for states of different times or sizes, or a smoothing below 0.

    Example:
        >>> import jax.numpy as jnp, seqmem
        >>> t = jnp.arange(1000.0)[:, None]
        >>> slow, fast = jnp.sin(0.1 * t), jnp.sin(2.0 * t)
        >>> distance = seqmem.dynamics.power_spectrum_distance
        >>> float(distance(slow, slow)), round(float(distance(slow, fast)), 1)
        (0.0, 1.0)
    """
    check_states("power_spectrum_distance", xs, ys)
    if len(xs) != len(ys):
        raise bad_input(
            f"power_spectrum_distance got {len(xs)} and {len(ys)} steps.",
            "the same number of steps of both.",
            "cut the longer trajectory.",
        )
    if not smoothing >= 0:
        raise bad_input(
            f"power_spectrum_distance got smoothing={smoothing!r}.",
            "a number of at least 0.",
            "leave it out for 20.",
        )
    return _distance(xs, ys, float(smoothing))


@functools.partial(jax.jit, static_argnums=2)
def _distance(xs: Array, ys: Array, smoothing: float) -> Float[Array, ""]:
    p, q = _spectrum(xs, smoothing), _spectrum(ys, smoothing)
    squares = ((jnp.sqrt(p) - jnp.sqrt(q)) ** 2).sum(0)
    return jnp.sqrt(squares / 2).mean()


def _spectrum(xs: Float[Array, "time *batch n"], smoothing: float) -> Float[Array, "frequency n"]:
    """The power of each coordinate, with sum 1 over frequencies."""
    n = xs.shape[-1]
    power = jnp.abs(jnp.fft.rfft(xs - xs.mean(0), axis=0)) ** 2
    power = power.reshape(len(power), -1, n).mean(1)
    if smoothing > 0:
        radius = int(4 * smoothing + 0.5)
        offsets = jnp.arange(-radius, radius + 1, dtype=power.dtype)
        weights = jnp.exp(-((offsets / smoothing) ** 2) / 2)
        padded = jnp.pad(power, ((radius, radius), (0, 0)), mode="symmetric")
        smooth = functools.partial(jnp.convolve, mode="valid")
        power = jax.vmap(smooth, (1, None), 1)(padded, weights / weights.sum())
        power = jnp.maximum(power, 0)
    return power / power.sum(0)
