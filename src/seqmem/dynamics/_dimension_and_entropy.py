"""What follows from a spectrum of Lyapunov exponents: the dimension and the entropy of a system."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.jit
def kaplan_yorke_dimension(exponents: Float[Array, "*batch k"]) -> Float[Array, "*batch"]:
    """The Kaplan–Yorke (Lyapunov) dimension of the attractor that the exponents belong to.

        D = j + (λ_1 + … + λ_j) / |λ_{j+1}|,    j the largest with λ_1 + … + λ_j >= 0

    It is 0 where all exponents are negative: a fixed point, or a state that its inputs determine.
    Where the sum of all k is not negative, it is k: the dimension of the state where these are all
    its exponents, else a lower bound, and more of them are needed. Exponents of −∞ are allowed.

    Source: Kaplan & Yorke 1979, Lecture Notes in Mathematics 730; Frederickson, Kaplan, Yorke &
    Yorke 1983, Journal of Differential Equations 49. Their text was not read; the formula is that
    of the encyclopaedias (mathworld.wolfram.com/Kaplan-YorkeDimension.html).

    Args:
        exponents: the k leading exponents, in any order.

    Example:
        >>> import jax.numpy as jnp, seqmem
        >>> henon = jnp.array([0.41922, -1.62319])
        >>> round(float(seqmem.dynamics.kaplan_yorke_dimension(henon)), 3)
        1.258
    """
    exponents = jnp.flip(jnp.sort(exponents, axis=-1), axis=-1)
    sums = jnp.cumsum(exponents, axis=-1)
    j = (sums >= 0).sum(-1)
    zero = jnp.zeros_like(sums[..., :1])
    sum_of_j = jnp.take_along_axis(jnp.concatenate([zero, sums], -1), j[..., None], -1)[..., 0]
    one = zero - 1  # after the last exponent: not used, but a divisor that is not 0
    following = jnp.take_along_axis(jnp.concatenate([exponents, one], -1), j[..., None], -1)[..., 0]
    fraction = jnp.where(j < exponents.shape[-1], sum_of_j / jnp.abs(following), 0)
    dimension = j.astype(exponents.dtype) + fraction
    return jnp.where(jnp.isnan(exponents).any(-1), jnp.nan, dimension)


@jax.jit
def entropy_rate(exponents: Float[Array, "*batch k"]) -> Float[Array, "*batch"]:
    """The sum of the positive exponents, in nats per step: by Pesin's identity the rate at which a
    chaotic system makes information, its Kolmogorov–Sinai entropy.

    It is an upper bound of that entropy in general (Ruelle's inequality). With fewer exponents than
    the state has entries, it is right where the last of them is not positive.

    Source: Pesin 1977, Russian Mathematical Surveys 32; Ruelle 1978. Their text was not read.

    Args:
        exponents: the leading exponents, in any order.

    Example:
        >>> import jax.numpy as jnp, seqmem
        >>> float(seqmem.dynamics.entropy_rate(jnp.array([0.5, 0.25, -1.0])))
        0.75
    """
    return jnp.maximum(exponents, 0).sum(-1)
