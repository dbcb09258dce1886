"""An initial state that is run up to, without a gradient."""

from collections.abc import Callable

import equinox as eqx
import jax

from .._core.errors import bad_input
from .._core.precision import split
from ._checks import check_loss, check_steps
from ._time import of_time, part


def with_burn_in(loss: Callable, steps: int) -> Callable:
    """A loss of the same kind, of what follows the first `steps` steps; these only give it its
    state.

        s_0 → s_n  by the first n steps, held fixed;    L = Σ_{t > n} L_t

    For sequences drawn from a store, whose state is unknown or was computed with older parameters.
    `dynamics.burn_in` measures how long it takes until the state no longer matters.

    Source: Kapturowski et al. 2019, R2D2 (ICLR), section 3.

    Args:
        loss: a function (model, state, batch) -> (total, weight, state), as for `TruncatedBPTT`.
        steps: n, less than the time in a batch.

    Raises:
        ValueError: for less than one step, or where no step is left.

    Example:
        >>> import jax, seqmem
        >>> from seqmem import training
        >>> def loss(cell, state, xs):
        ...     state, ys = seqmem.unroll(cell, state, xs)
        ...     return (ys**2).sum(), ys.size, state
        >>> cell = seqmem.GRU(3, 5, key=jax.random.key(0))
        >>> gradient = training.TruncatedBPTT(training.with_burn_in(loss, 4), window=12)
        >>> found = gradient(cell, cell.init_state(), jax.numpy.ones((12, 3)))
        >>> float(found.weight)                                             # (12 − 4) · 5
        40.0
    """
    check_steps(f"with_burn_in(loss, {steps!r}).", steps)

    def burnt(model, state, batch, lengths=None, **options):
        time = of_time(batch, lengths, at_least=1)
        if time <= steps:
            raise bad_input(
                f"with_burn_in(loss, {steps}) for a batch of {time} steps of time.",
                "a batch that is longer than its burn-in.",
                "pass longer sequences; in Truncated the window is one sequence.",
            )

        def run(model, start, end, state, **options):
            cut, valid = part(batch, lengths, start, end)
            if valid is not None:
                options["lengths"] = valid
            return loss(model, state, cut, **options)

        moving, still = split(model)
        fixed = eqx.combine(jax.lax.stop_gradient(moving), still)
        _, _, state = check_loss(run(fixed, 0, steps, state))
        return run(model, steps, time, jax.lax.stop_gradient(state), **options)

    return burnt
