"""One step of training: gradient, norms and update in one compiled program."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree

from .._cell import State
from .._errors import bad_input
from .._norms import tree_norm
from .._precision import inexact, split
from ._gradient import AbstractGradient, Carry


class TrainingState(eqx.Module):
    """All that a step changes.

    Attributes:
        model: the parameters, and whatever else is in the tree.
        opt_state: the optimiser's.
        carry: what the next stretch of time starts from: the cells' states.
        steps: updates made.
        skipped: steps that were not finite, and changed nothing but this number.
    """

    model: PyTree
    opt_state: optax.OptState
    carry: Carry
    steps: Int[Array, ""]
    skipped: Int[Array, ""]


class StepResult(NamedTuple):
    """What a step has to tell, of the parameters before it.

    Attributes:
        loss: total / weight.
        weight: over how much the loss was summed, such as tokens.
        gradient_norm: ‖∂L/∂θ‖, before the optimiser clips it.
        finite: whether the step was taken.
        state_gradient_norms: ‖∂L/∂s_t‖ where the gradient has them (`Truncated(flow=True)`), or a
            dict by the names of the probes; else None.
    """

    loss: Float[Array, ""]
    weight: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    finite: Bool[Array, ""]
    state_gradient_norms: PyTree[Float[Array, "time *batch"]] | None


def begin_training(
    model: PyTree, optimiser: optax.GradientTransformation, carry: Carry
) -> TrainingState:
    """The state before the first step. Arrays are copied, since a step gives up the memory of what
    it is handed: `model` stays usable.

    Args:
        model: the model.
        optimiser: as for `make_step`.
        carry: from the gradient's `begin`.
    """

    def copied(leaf: Any) -> Any:
        return jnp.array(leaf) if isinstance(leaf, jax.Array | np.ndarray) else leaf

    zero = np.zeros((), np.int32)
    start = TrainingState(model, optimiser.init(inexact(model)), carry, zero, zero)  # pyright: ignore
    return jax.tree.map(copied, start)


def make_step(
    gradient: AbstractGradient, optimiser: optax.GradientTransformation
) -> Callable[..., tuple[TrainingState, StepResult]]:
    """A compiled step of training.

        g = ∂L/∂θ,    θ ← θ + optimiser(g),    s ← the states after this stretch of time

    A step whose loss or gradient is not finite, or which would make a number in the parameters, the
    optimiser's state or the cells' states infinite or NaN that was not, is not taken: all of them
    stay as they are, bit for bit, `skipped` counts it, and `finite` says so. What then happens is
    the caller's choice: go on with the next batch, or stop, by `require_finite`.

    The memory of the state that is handed in is used for the one that comes out: keep none of it.

    Args:
        gradient: `Truncated`, or `Accumulated` of it.
        optimiser: of optax; clipping belongs there.

    Returns:
        A function (state, batch, lengths=None) -> (state, result).

    Example:
        >>> import jax, optax, seqmem
        >>> from seqmem import training
        >>> def loss(cell, state, xs):
        ...     state, ys = seqmem.unroll(cell, state, xs)
        ...     return ((ys - 0.1) ** 2).sum(), ys.size, state
        >>> gradient, optimiser = training.Truncated(loss, window=7), optax.adam(0.01)
        >>> step = training.make_step(gradient, optimiser)
        >>> xs, cell = jax.numpy.ones((7, 2, 3)), seqmem.GRU(3, 5, key=jax.random.key(0))
        >>> carry = gradient.begin(jax.numpy.zeros((2, 5)), xs)
        >>> state = training.begin_training(cell, optimiser, carry)
        >>> for _ in range(3):
        ...     state, told = step(state, xs)
        >>> int(state.steps), int(state.skipped), bool(told.finite), float(told.weight)
        (3, 0, True, 70.0)
    """

    @functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
    def run(still: tuple, arrays: PyTree, batch: PyTree, lengths: PyTree) -> Any:
        leaves, tree = still
        state = eqx.combine(arrays, jax.tree.unflatten(tree, leaves))
        new, told = _step(gradient, optimiser, state, batch, lengths)
        return eqx.filter(new, eqx.is_array), told

    def step(
        state: TrainingState, batch: PyTree, lengths: Int[Array, "*batch"] | None = None
    ) -> tuple[TrainingState, StepResult]:
        arrays, still = eqx.partition(state, eqx.is_array)
        leaves, tree = jax.tree.flatten(still)
        arrays, told = run((tuple(leaves), tree), arrays, batch, lengths)
        return eqx.combine(arrays, still), told

    return step


def _step(gradient, optimiser, state: TrainingState, batch, lengths):
    found = gradient(state.model, state.carry, batch, lengths)
    grads, norm = found.mean_grads, tree_norm(found.mean_grads)
    moving, still = split(state.model)
    # Adam takes a float to the power of an integer, which strict promotion forbids.
    with jax.numpy_dtype_promotion("standard"):
        updates, opt_state = optimiser.update(grads, state.opt_state, moving)
        moved = optax.apply_updates(moving, updates)
    old = (state.model, state.opt_state, state.carry)
    new = (eqx.combine(moved, still), opt_state, found.carry)

    fine = jnp.isfinite(found.value) & jnp.isfinite(norm)
    fine &= _none_broken((*old[:2], gradient.state(old[2])), (*new[:2], gradient.state(new[2])))
    kept = jax.tree.map(
        lambda a, b: jnp.where(fine, b, a) if eqx.is_array(a) else a,
        old,
        new,
    )
    taken = fine.astype(jnp.int32)
    norms = jax.tree.map(lambda leaf: leaf / found.weight.astype(leaf.dtype), found.norms)
    told = StepResult(found.value, found.weight, norm, fine, norms)
    return TrainingState(*kept, state.steps + taken, state.skipped + 1 - taken), told


def _none_broken(old: State, new: State) -> Bool[Array, ""]:
    """Whether every number that was finite still is."""
    broken = jax.tree.map(
        lambda a, b: (jnp.isfinite(a) & ~jnp.isfinite(b)).any(), inexact(old), inexact(new)
    )
    return ~functools.reduce(jnp.logical_or, jax.tree.leaves(broken), jnp.zeros((), bool))


def require_finite(result: StepResult) -> None:
    """Stop where a step was not taken. It waits for the step to be done.

    Raises:
        FloatingPointError: where the loss, the gradient or what they would change is not finite.
    """
    if not bool(result.finite):
        complaint = bad_input(
            f"a step with loss {float(result.loss)} and gradient norm "
            f"{float(result.gradient_norm)} over a weight of {float(result.weight)}.",
            "a loss, a gradient and an update that are finite.",
            "look at seqmem.gradients.value_and_grad for where it grows; clip, or lower the rate. "
            "A weight of 0 is a batch without a valid step. The parameters are those before it.",
        )
        raise FloatingPointError(str(complaint))
