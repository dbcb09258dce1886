"""Mixed precision: bfloat16 computation, float32 parameters and states."""

from collections.abc import Callable

import jax.numpy as jnp

from .._core.precision import as_precision


def mixed_precision(loss: Callable) -> Callable:
    """A loss function that rounds the parameters of the model to bfloat16.

        L(θ) = loss(bf16(θ)),    ∂L/∂θ := ∂loss/∂bf16(θ)

    The optimiser's parameters stay float32, and so do their gradients, as sums over segments and
    micro-batches. Inside of `unroll`, `project` and the products of parameters compute in
    bfloat16, states are float32, and parameter gradients are summed over time in float32, then
    rounded once for each `unroll`. No loss scaling is needed: bfloat16 has the exponents of
    float32. Outside of `unroll`, the model chooses its dtypes; the total must be float32.

    Source: Micikevicius et al. 2018, arXiv:1710.03740, for the float32 master copy of the weights.

    Args:
        loss: function (model, state, batch) -> (total, weight, state) of a float32 model, as for
            `TruncatedBPTT`.

    Example:
        >>> import jax, seqmem
        >>> from seqmem import training
        >>> def loss(cell, state, xs):
        ...     state, ys = seqmem.unroll(cell, state, xs)
        ...     return (ys**2).sum(), ys.size, state
        >>> gradient = training.TruncatedBPTT(training.mixed_precision(loss), window=7)
        >>> cell = seqmem.GRU(3, 5, key=jax.random.key(0))
        >>> result = gradient(cell, cell.init_state(), jax.numpy.ones((7, 3)))
        >>> result.grads.W.dtype.name, result.carry.dtype.name
        ('float32', 'float32')
    """

    def bfloat16_loss(model, state, batch, **options):
        return loss(as_precision(model, jnp.dtype(jnp.bfloat16)), state, batch, **options)

    return bfloat16_loss
