"""One step of training: gradient, norms and update in one compiled program."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Int, PyTree

from .._core.errors import bad_input
from .._core.precision import inexact, split
from .._core.trees import tree_norm
from ._gradient import AbstractGradient, Carry, Gradient


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
    gradient: AbstractGradient,
    optimiser: optax.GradientTransformation,
    *,
    tell: Callable[[Gradient], Mapping[str, Array]] = lambda found: {},
) -> Callable[..., tuple[TrainingState, dict[str, Array]]]:
    """A compiled step of training.

        g = ∂L/∂θ,    θ ← θ + optimiser(g),    s ← the states after this stretch of time

    A step whose loss or gradient is not finite, or which would make a number in the parameters, the
    optimiser's state or the cells' states infinite or NaN that was not, is not taken: all of them
    stay as they are, bit for bit. It is counted in `TrainingState.skipped` and says so itself. What
    then happens is the caller's choice: go on with the next batch, or `stop_where_skipped`.

    The memory of the state that is handed in is used for the one that comes out: keep none of it.

    Args:
        gradient: `TruncatedBPTT`, or `MicroBatched` of it.
        optimiser: of optax; clipping belongs there.
        tell: more that the step has to tell, computed in it, such as
            lambda found: {"norms": found.mean_norms.mean(1)} with `TruncatedBPTT(flow=True)`.

    Returns:
        A function (state, batch, lengths=None) -> (state, told), where `told` is of the parameters
        before the step:

            loss            total / weight
            weight          over how much the loss was summed, such as tokens
            gradient_norm   ‖∂L/∂θ‖, before the optimiser clips it
            skipped         1 where the step was not taken, else 0

    Example:
        >>> import jax, optax, seqmem
        >>> from seqmem import training
        >>> def loss(cell, state, xs):
        ...     state, ys = seqmem.unroll(cell, state, xs)
        ...     return ((ys - 0.1) ** 2).sum(), ys.size, state
        >>> gradient, optimiser = training.TruncatedBPTT(loss, window=7), optax.adam(0.01)
        >>> step = training.make_step(gradient, optimiser)
        >>> xs, cell = jax.numpy.ones((7, 2, 3)), seqmem.GRU(3, 5, key=jax.random.key(0))
        >>> carry = gradient.begin(jax.numpy.zeros((2, 5)), xs)
        >>> state = training.begin_training(cell, optimiser, carry)
        >>> for _ in range(3):
        ...     state, told = step(state, xs)
        >>> int(state.steps), int(state.skipped), int(told["skipped"]), float(told["weight"])
        (3, 0, 0, 70.0)
    """

    @functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
    def run(still: tuple, arrays: PyTree, batch: PyTree, lengths: PyTree) -> Any:
        leaves, tree = still
        state = eqx.combine(arrays, jax.tree.unflatten(tree, leaves))
        found = gradient(state.model, state.carry, batch, lengths)
        state, told = _updated(gradient, optimiser, state, found)
        return eqx.filter(state, eqx.is_array), {**told, **tell(found)}

    def step(
        state: TrainingState, batch: PyTree, lengths: Int[Array, "*batch"] | None = None
    ) -> tuple[TrainingState, dict[str, Array]]:
        arrays, still = eqx.partition(state, eqx.is_array)
        leaves, tree = jax.tree.flatten(still)
        arrays, told = run((tuple(leaves), tree), arrays, batch, lengths)
        return eqx.combine(arrays, still), told

    return step


def _updated(
    gradient: AbstractGradient,
    optimiser: optax.GradientTransformation,
    state: TrainingState,
    found: Gradient,
) -> tuple[TrainingState, dict[str, Array]]:
    value, grads = found.value, found.mean_grads
    norm = tree_norm(grads)
    moving, still = split(state.model)
    # Adam takes a float to the power of an integer, which strict promotion forbids.
    with jax.numpy_dtype_promotion("standard"):
        updates, opt_state = optimiser.update(grads, state.opt_state, moving)
        moved = optax.apply_updates(moving, updates)
    old = (state.model, state.opt_state, state.carry)
    new = (eqx.combine(moved, still), opt_state, found.carry)

    states = gradient.state(state.carry), gradient.state(found.carry)
    fine = jnp.isfinite(value) & jnp.isfinite(norm)
    fine &= _none_broken((*old[:2], states[0]), (*new[:2], states[1]))
    kept = jax.tree.map(lambda a, b: jnp.where(fine, b, a) if eqx.is_array(a) else a, old, new)
    skipped = (~fine).astype(jnp.int32)
    told = {"loss": value, "weight": found.weight, "gradient_norm": norm, "skipped": skipped}
    return TrainingState(*kept, state.steps + 1 - skipped, state.skipped + skipped), told  # pyright: ignore


def _none_broken(old: PyTree, new: PyTree) -> Bool[Array, ""]:
    """Whether every number that was finite still is."""
    broken = jax.tree.map(
        lambda a, b: (jnp.isfinite(a) & ~jnp.isfinite(b)).any(), inexact(old), inexact(new)
    )
    return ~functools.reduce(jnp.logical_or, jax.tree.leaves(broken), jnp.zeros((), bool))


def stop_where_skipped(position: int, told: Mapping[str, Any]) -> None:
    """Stop where a step was not taken; `told` is what it said. Waits for the step to be done.

    Raises:
        FloatingPointError: where the loss, the gradient or what they would change is not finite.
    """
    if not int(told["skipped"]):
        return
    complaint = bad_input(
        f"step {position}: loss {float(told['loss'])}, gradient norm "
        f"{float(told['gradient_norm'])}, weight {float(told['weight'])}.",
        "a loss, a gradient and an update that are finite; all is as it was before the step.",
        "look where it grows by seqmem.gradients.value_grad_and_flow; clip, or lower the rate. A weight "
        "of 0 is a batch without a valid step.",
    )
    raise FloatingPointError(str(complaint))
