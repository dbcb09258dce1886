"""Mixed precision: narrow computation, wide weights, wide states."""

from collections.abc import Callable

import jax.numpy as jnp

from .._core.precision import as_precision


def mixed_precision(loss: Callable) -> Callable:
    """A loss of the same kind, computed with the model's parameters rounded to bfloat16.

        L(θ) = loss(bf16(θ)),    ∂L/∂θ := ∂loss/∂bf16(θ)

    The parameters that an optimiser changes stay float32, and so do their gradients, as sums over
    windows and micro-batches. Within, seqmem's contract holds: `project` and `mix` compute in
    bfloat16, states and what is computed from them are float32, and weight gradients are summed
    over time in float32, then rounded once for each `unroll`. bfloat16 has the exponents of
    float32, so no scaling of the loss is needed. What the model computes outside of `unroll` has
    the dtypes that the model gives it; the total must be float32.

    Source: Micikevicius et al. 2018, arXiv:1710.03740, for the float32 master copy of the weights.

    Args:
        loss: a function (model, state, batch) -> (total, weight, state), as for `TruncatedBPTT`, of a
            float32 model.

    Example:
        >>> import jax, seqmem
        >>> from seqmem import training
        >>> def loss(cell, state, xs):
        ...     state, ys = seqmem.unroll(cell, state, xs)
        ...     return (ys**2).sum(), ys.size, state
        >>> gradient = training.TruncatedBPTT(training.mixed_precision(loss), window=7)
        >>> cell = seqmem.GRU(3, 5, key=jax.random.key(0))
        >>> found = gradient(cell, cell.init_state(), jax.numpy.ones((7, 3)))
        >>> found.grads.W.dtype.name, found.carry.dtype.name
        ('float32', 'float32')
    """

    def narrow(model, state, batch, **options):
        return loss(as_precision(model, jnp.dtype(jnp.bfloat16)), state, batch, **options)

    return narrow
