"""Norms of one step, as cells, with what is learned of them."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._cells.normalisation import layer_norm, rms_norm
from .._cells.pointwise import AbstractPointwiseCell
from .._core.precision import as_precision, precision, state_dtype
from .._core.validation import check_sizes


class RMSNorm(AbstractPointwiseCell):
    """y_t = scale ∘ x_t / √(mean(x_t²) + ε), in at least float32.

    Source: Zhang & Sennrich 2019, arXiv:1910.07467. Differs: ε.

    Args:
        size: entries of one input, > 0.
        eps: ε, > 0.

    Raises:
        ValueError: for a size below 1.
    """

    scale: Float[Array, " size"]
    eps: float = eqx.field(static=True)

    def __init__(self, size: int, *, eps: float = 1e-5):
        check_sizes("RMSNorm", size=size)
        self.scale, self.eps = jnp.ones(size), eps

    @property
    def input_shape(self):
        return (self.scale.size,)

    def project(self, x):
        wide = as_precision(x, state_dtype(x))
        return self.scale * as_precision(rms_norm(wide, self.eps), precision(x))


class ZeroCenteredRMSNorm(AbstractPointwiseCell):
    """y_t = (1 + scale) ∘ x_t / √(mean(x_t²) + ε), in at least float32; the scale starts at 0.

    Source: `RecurrentGemmaRMSNorm` and `Qwen3NextRMSNorm` of Hugging Face transformers 5.24.0.
    Differs: none.

    Args:
        size: entries of one input, > 0.
        eps: ε, > 0.

    Raises:
        ValueError: for a size below 1.

    Example:
        >>> import jax, seqmem
        >>> norm = seqmem.layers.ZeroCenteredRMSNorm(5)
        >>> seqmem.unroll(norm, None, jax.numpy.ones((7, 5)))[1].shape
        (7, 5)
    """

    scale: Float[Array, " size"]
    eps: float = eqx.field(static=True)

    def __init__(self, size: int, *, eps: float = 1e-6):
        check_sizes("ZeroCenteredRMSNorm", size=size)
        self.scale, self.eps = jnp.zeros(size), eps

    @property
    def input_shape(self):
        return (self.scale.size,)

    def project(self, x):
        wide, scale = as_precision((x, self.scale), state_dtype(x))
        return as_precision((1 + scale) * rms_norm(wide, self.eps), precision(x))


class LayerNorm(AbstractPointwiseCell):
    """y_t = scale ∘ (x_t − mean(x_t)) / √(var(x_t) + ε) + shift, in at least float32.

    Source: Ba, Kiros & Hinton 2016, arXiv:1607.06450. Differs: ε.

    Args:
        size: entries of one input, > 0.
        eps: ε, > 0.

    Raises:
        ValueError: for a size below 1.
    """

    scale: Float[Array, " size"]
    shift: Float[Array, " size"]
    eps: float = eqx.field(static=True)

    def __init__(self, size: int, *, eps: float = 1e-5):
        check_sizes("LayerNorm", size=size)
        self.scale, self.shift, self.eps = jnp.ones(size), jnp.zeros(size), eps

    @property
    def input_shape(self):
        return (self.scale.size,)

    def project(self, x):
        wide = as_precision(x, state_dtype(x))
        return self.scale * as_precision(layer_norm(wide, self.eps), precision(x)) + self.shift
