"""One training step: gradient, norm and update in one compiled program."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import optax
from jaxtyping import Array, Int, PyTree

from ._gradient import AbstractGradient, Gradient
from ._state import TrainingState
from ._update import update


def make_step(
    gradient: AbstractGradient,
    optimiser: optax.GradientTransformation,
    *,
    extra_metrics: Callable[[Gradient], Mapping[str, Array]] = lambda gradient: {},
) -> Callable[..., tuple[TrainingState, dict[str, Array]]]:
    """A compiled training step.

        g = ∂L/∂θ,    θ ← θ + optimiser(g),    carry ← that of the gradient

    A step is skipped if its loss or its gradient is not finite, or if a finite number in the
    parameters, the optimiser's state or the cells' states would become infinite or NaN. A skipped
    step changes no bit of them; it adds 1 to `TrainingState.skipped`, and its metrics say so. A
    training loop then continues with the next batch, or stops with `experiment.stop_if_skipped`.

    The step donates the memory of its state: the state passed in cannot be used again.

    Args:
        gradient: `TruncatedBPTT`, or `MicroBatched` of it.
        optimiser: an optax optimiser, which includes clipping.
        extra_metrics: function of the gradient that returns more metrics, computed in the step,
            such as lambda g: {"norms": g.mean_norms.mean(1)} for `TruncatedBPTT(flow=True)`.

    Returns:
        A function (state, batch, lengths=None) -> (state, metrics), the metrics computed with the
        parameters before the update:

            loss            total / weight
            weight          number of summed terms of the loss, such as tokens
            gradient_norm   ‖∂L/∂θ‖, before the optimiser clips it
            skipped         1 for a skipped step, else 0

    Example:
        >>> import jax, optax, seqmem
        >>> from seqmem import training
        >>> def loss(cell, state, xs):
        ...     state, ys = seqmem.unroll(cell, state, xs)
        ...     return ((ys - 0.1) ** 2).sum(), ys.size, state
        >>> gradient, optimiser = training.TruncatedBPTT(loss, window=7), optax.adam(0.01)
        >>> step = training.make_step(gradient, optimiser)
        >>> xs, cell = jax.numpy.ones((7, 2, 3)), seqmem.GRU(3, 5, key=jax.random.key(0))
        >>> carry = gradient.init_carry(cell.init_state(2), xs)
        >>> state = training.begin_training(cell, optimiser, carry)
        >>> for _ in range(3):
        ...     state, metrics = step(state, xs)
        >>> int(state.steps), int(state.skipped), int(metrics["skipped"]), float(metrics["weight"])
        (3, 0, 0, 70.0)
    """

    @functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
    def run(static: tuple, arrays: PyTree, batch: PyTree, lengths: PyTree) -> Any:
        leaves, treedef = static
        state = eqx.combine(arrays, jax.tree.unflatten(treedef, leaves))
        result = gradient(state.model, state.carry, batch, lengths)
        state, metrics = update(state, result, gradient, optimiser)
        return eqx.filter(state, eqx.is_array), {**metrics, **extra_metrics(result)}

    def step(
        state: TrainingState, batch: PyTree, lengths: Int[Array, "*batch"] | None = None
    ) -> tuple[TrainingState, dict[str, Array]]:
        arrays, static = eqx.partition(state, eqx.is_array)
        leaves, treedef = jax.tree.flatten(static)
        arrays, metrics = run((tuple(leaves), treedef), arrays, batch, lengths)
        return eqx.combine(arrays, static), metrics

    return step
