"""Burn-in: the first steps of a sequence give the initial state, without a gradient."""

from collections.abc import Callable

import equinox as eqx
import jax

from .._core.errors import bad_input
from .._core.precision import split_inexact
from .._core.validation import check_count
from ._loss import check_loss
from ._segments import num_steps, slice_time


def with_burn_in(loss: Callable, steps: int) -> Callable:
    """A loss function that omits the loss and the gradient of the first steps, and uses them to
    compute the state before the others.

        s_0 → s_n  by the first n steps, constant;    L = Σ_{t > n} L_t

    For sequences from a replay buffer, whose initial state is unknown or was computed with older
    parameters. `dynamics.burn_in` measures how many steps the initial state matters for.

    Source: Kapturowski et al. 2019, R2D2 (ICLR), section 3.

    Args:
        loss: function (model, state, batch) -> (total, weight, state), as for `TruncatedBPTT`.
        steps: n, > 0 and below the number of steps in a batch.

    Raises:
        ValueError: for `steps` below 1, or a batch of at most `steps` steps.

    Example:
        >>> import jax, seqmem
        >>> from seqmem import training
        >>> def loss(cell, state, xs):
        ...     state, ys = seqmem.unroll(cell, state, xs)
        ...     return (ys**2).sum(), ys.size, state
        >>> cell = seqmem.GRU(3, 5, key=jax.random.key(0))
        >>> gradient = training.TruncatedBPTT(training.with_burn_in(loss, 4), window=12)
        >>> result = gradient(cell, cell.init_state(), jax.numpy.ones((12, 3)))
        >>> float(result.weight)                                            # (12 − 4) · 5
        40.0
    """
    check_count("with_burn_in", "steps", steps)

    def loss_after_burn_in(model, state, batch, lengths=None, **options):
        time = num_steps(batch, lengths)
        if time <= steps:
            raise bad_input(
                f"with_burn_in(loss, {steps}) got a batch of {time} steps.",
                "a batch that is longer than its burn-in.",
                "pass longer sequences; in TruncatedBPTT, a window is one whole sequence.",
            )

        def run(model, start, end, state, **options):
            segment, valid_steps = slice_time(batch, lengths, start, end)
            if valid_steps is not None:
                options["lengths"] = valid_steps
            return loss(model, state, segment, **options)

        # Without gradients of the parameters, nothing is saved for a backward pass.
        params, static = split_inexact(model)
        constant_model = eqx.combine(jax.lax.stop_gradient(params), static)
        _, _, state = check_loss(run(constant_model, 0, steps, state))
        return run(model, steps, time, jax.lax.stop_gradient(state), **options)

    return loss_after_burn_in
