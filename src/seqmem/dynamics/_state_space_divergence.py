"""How far apart two attractors are: divergences between the states that trajectories visit."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._core.errors import bad_input
from .._core.validation import check_count, check_positive

MOST_BINS = 2**24
PSEUDOCOUNT = 1e-5


def state_space_divergence(
    xs: Float[Array, "time *batch n"], ys: Float[Array, "time2 *batch2 n"], *, bins: int = 30
) -> Float[Array, ""]:
    """D_stsp: the Kullback-Leibler divergence between histograms of states, from the true system to
    its reconstruction.

        D = Σ_k p_k ln(p_k / q_k),    p_k = (n_k + ε) / (Σ_j n_j + ε K),    ε = 10⁻⁵

    Each coordinate has `bins` bins of equal width, from 0.1 standard deviations below the least to
    as far above the largest value of `xs`: K = binsⁿ in all; n_k counts the states of `xs` in bin
    k for p, those of `ys` for q. States of `ys` outside of all bins are not counted. All steps
    and batch axes are states alike. It is 0 for equal histograms and grows with the number of bins,
    so only figures of equal bins and similar numbers of states compare; the divergence between two
    halves of `xs` says how much of it is chance.

    Source: Koppe et al. 2019, arXiv:1902.07186, and Hess et al. 2023, arXiv:2306.04406; bins and ε
    are those of their program, DurstewitzLab/GTF-shPLRNN (`measures/stsp_measure.jl`). The papers'
    text was not read.

    Args:
        xs: states of the true system.
        ys: states of the reconstruction.
        bins: of each coordinate, >= 1; binsⁿ at most 2²⁴.

    Returns:
        D in nats; NaN where no state of `ys` is in a bin.

    Raises:
        ValueError: for states of different sizes, or too many bins.

    Example:
        >>> import jax, seqmem
        >>> xs = jax.random.normal(jax.random.key(0), (500, 2))
        >>> same, other = (seqmem.dynamics.state_space_divergence(xs, ys) for ys in (xs, 3 * xs))
        >>> float(same), bool(other > 1)
        (0.0, True)
    """
    check_states("state_space_divergence", xs, ys)
    check_count("state_space_divergence", "bins", bins, remedy="leave it out for 30.")
    n = xs.shape[-1]
    if bins**n > MOST_BINS:
        raise bad_input(
            f"state_space_divergence got {bins} bins for each of {n} coordinates.",
            f"at most {MOST_BINS} bins in all.",
            "choose fewer bins, or use mixture_divergence where there are many coordinates.",
        )
    return _binned(xs.reshape(-1, n), ys.reshape(-1, n), bins)


@functools.partial(jax.jit, static_argnums=2)
def _binned(xs: Float[Array, "a n"], ys: Float[Array, "b n"], bins: int) -> Float[Array, ""]:
    n = xs.shape[-1]
    margin = 0.1 * xs.std(0, ddof=1)
    low, high = xs.min(0) - margin, xs.max(0) + margin
    strides = jnp.array([bins**i for i in range(n)], jnp.int32)

    def histogram(states: Array) -> tuple[Array, Array]:
        place = jnp.floor((states - low) / (high - low) * bins)
        is_inside = ((place >= 0) & (place < bins)).all(-1)
        index = jnp.where(is_inside, (place.astype(jnp.int32) * strides).sum(-1), bins**n)
        counts = jnp.bincount(index, length=bins**n + 1)[:-1].astype(xs.dtype)
        total = counts.sum()
        return (counts + PSEUDOCOUNT) / (total + PSEUDOCOUNT * bins**n), total

    (p, _), (q, total) = histogram(xs), histogram(ys)
    return jnp.where(total > 0, (p * (jnp.log(p) - jnp.log(q))).sum(), jnp.nan)


def mixture_divergence(
    xs: Float[Array, "time *batch n"],
    ys: Float[Array, "time2 *batch2 n"],
    *,
    variance: float = 1.0,
    num_samples: int = 1000,
    key: PRNGKeyArray,
) -> Float[Array, ""]:
    """D_stsp for many coordinates: the divergence between two mixtures of Gaussians, one at every
    state.

        D = (1/m) Σ_i ln p(z_i) / q(z_i),    z_i ~ p
        p(z) = (1/T) Σ_t N(z; x_t, σ² I),    q(z) = (1/T') Σ_t N(z; y_t, σ² I)

    The cost is m (T + T') n, so pass some 10⁴ states.

    Source: Hess et al. 2023, arXiv:2306.04406, by their program, DurstewitzLab/GTF-shPLRNN
    (`measures/stsp_measure.jl`); the estimate is that of Hershey & Olsen 2007. The papers' text was
    not read. Differs: sums of exponentials are computed in logarithms, so no sample is left out
    as an outlier.

    Args:
        xs: states of the true system.
        ys: states of the reconstruction.
        variance: σ², in squared units of the states, > 0.
        num_samples: m, >= 1.
        key: random key for the samples.

    Returns:
        D in nats, with an error of order 1/√m.

    Raises:
        ValueError: for states of different sizes, a variance not above 0, or no sample.

    Example:
        >>> import jax, seqmem
        >>> key = jax.random.key(0)
        >>> xs = jax.random.normal(key, (500, 20))
        >>> float(seqmem.dynamics.mixture_divergence(xs, xs, key=key))
        0.0
    """
    check_states("mixture_divergence", xs, ys)
    check_positive("mixture_divergence", "variance", variance, remedy="leave it out for 1.")
    check_count("mixture_divergence", "num_samples", num_samples, remedy="leave it out for 1000.")
    n = xs.shape[-1]
    return _of_mixtures(xs.reshape(-1, n), ys.reshape(-1, n), variance, num_samples, key)


@functools.partial(jax.jit, static_argnums=3)
def _of_mixtures(xs, ys, variance, num_samples, key):
    index_key, noise_key = jax.random.split(key)
    variance = jnp.asarray(variance, xs.dtype)
    centres = xs[jax.random.randint(index_key, (num_samples,), 0, len(xs))]
    noise = jax.random.normal(noise_key, centres.shape, xs.dtype)

    def log_ratio(z: Float[Array, " n"]) -> Float[Array, ""]:
        def log_density(means: Array) -> Array:  # but for a constant
            squares = ((z - means) ** 2).sum(-1)
            return jax.nn.logsumexp(-squares / (2 * variance)) - jnp.log(float(len(means)))

        return log_density(xs) - log_density(ys)

    return jax.lax.map(log_ratio, centres + jnp.sqrt(variance) * noise).mean()


def check_states(owner: str, xs: Array, ys: Array) -> None:
    """Refuse states that are no vectors of one size."""
    shapes = jnp.shape(xs), jnp.shape(ys)
    if min(map(len, shapes)) < 2 or shapes[0][-1] != shapes[1][-1]:
        raise bad_input(
            f"{owner} got states of shapes {shapes[0]} and {shapes[1]}.",
            "[time, *batch, n] of both, with the same n.",
            "pass trajectories of the same observed variables.",
        )
