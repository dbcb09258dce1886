"""What single steps contribute: gradients at the gates, parts of the weight gradient, and
Pascanu's penalty on how a step changes the gradient's norm.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._core.batching import vmap_batch
from .._core.cell import AbstractCell, project, update
from .._core.precision import inexact
from .._core.problem import State
from .._core.trees import tree_norm
from .._methods.scan.vjp_rules import pull_to
from ..dynamics._gate_values import check_gates
from ..dynamics._trajectory import states_before
from ._flow import Flow


def gate_gradients(
    cell: AbstractCell, state: State, xs: PyTree, flow: Flow, **options
) -> dict[str, Float[Array, "time *batch hidden"]]:
    """∂L/∂u_t for the drive u of every gate, by name: what the loss asks of it at each step.

        ∂L/∂u_t = (∂s_t/∂u_t)ᵀ ∂L/∂s_t,    u_t = project(x_t)

    Args:
        cell: a cell with gates, whose drive has them along its first axis.
        state: the state that the run started from.
        xs: its inputs.
        flow: its flow, from `value_grad_and_flow`.
        options: its `lengths`, `resets` and `reverse`, as they were given to `unroll`.

    Raises:
        ValueError: where the cell has no gates.

    Example:
        >>> import jax, seqmem
        >>> def loss(cell, state, xs, perturbations):
        ...     return seqmem.unroll(cell, state, xs, perturbations=perturbations)[1].sum()
        >>> cell, xs = seqmem.LSTM(3, 5, key=jax.random.key(0)), jax.numpy.ones((7, 3))
        >>> run = cell, cell.init_state(), xs
        >>> _, _, flow = seqmem.gradients.value_grad_and_flow(loss)(*run)
        >>> seqmem.gradients.gate_gradients(*run, flow)["forget"].shape
        (7, 5)
    """
    check_gates(cell)
    before = states_before(cell, state, xs, **options)

    def one(cell: AbstractCell, start: State, x: PyTree, d: State) -> Array:
        return pull_to(lambda u: inexact(update(cell, start, u)), d, project(cell, x, start))[0]

    d_drive = vmap_batch(one, cell, flow.leading - 1, time=True)(before, xs, flow.d)
    return {name: d_drive[..., place, :] for place, name in enumerate(cell.gates)}


def contributions(
    cell: AbstractCell, state: State, xs: PyTree, flow: Flow, **options
) -> Float[Array, " time"]:
    """‖∂L/∂θ at step t‖: how long the part of the weight gradient is that each step adds.

        ∂L/∂θ = Σ_t g_t,    g_t = Σ_batch (∂s_t/∂θ)ᵀ ∂L/∂s_t    (s_{t−1} held fixed)

    θ are the parameters of `project` and `update`; what the readout adds has no way through time.
    One g_t is held at a time. Arguments as in `gate_gradients`.
    """
    before = states_before(cell, state, xs, **options)

    def part(step: tuple[State, PyTree, State]) -> Array:
        return tree_norm(contribution(cell, *step, batch_axes=flow.leading - 1))

    return jax.lax.map(part, (before, xs, flow.d))


def contribution(
    cell: AbstractCell, start: State, x: PyTree, d: State, *, batch_axes: int
) -> AbstractCell:
    """g_t of `contributions`, for the states before one step, its inputs and its gradient."""

    def step(cell: AbstractCell) -> State:
        def one(cell: AbstractCell, start: State, x: PyTree) -> State:
            return inexact(update(cell, start, project(cell, x, start)))

        return vmap_batch(one, cell, batch_axes)(start, x)

    return pull_to(step, d, cell)[0]


def norm_penalty(
    cell: AbstractCell, state: State, xs: PyTree, flow: Flow, **options
) -> Float[Array, ""]:
    """Pascanu's Ω: how far each step is from passing the gradient on at its own length.

        Ω = Σ_t (‖(∂s_t/∂s_{t−1})ᵀ δ_t‖ / ‖δ_t‖ − 1)²,    δ_t = ∂L/∂s_t

    averaged over the batch; steps with δ_t = 0 count nothing. Its own gradient is the immediate one
    only: states and δ are held fixed, so that it costs no second pass through time.

    Source: Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063, section 3.3, equations 9 and 10.
    Arguments as in `gate_gradients`; call it on the parameters to be differentiated, with a flow
    from `value_grad_and_flow`, and add a multiple of its gradient to the loss's.
    """
    before, d = jax.lax.stop_gradient((states_before(cell, state, xs, **options), flow.d))

    def one(cell: AbstractCell, start: State, x: PyTree, d: State) -> Array:
        step = lambda s: inexact(update(cell, s, project(cell, x, s)))  # noqa: E731
        norm = tree_norm(d)
        some = norm > 0
        passed = tree_norm(inexact(pull_to(step, d, start)[0]))
        return jnp.where(some, jnp.square(passed / jnp.where(some, norm, 1.0) - 1), 0.0)

    return vmap_batch(one, cell, flow.leading - 1, time=True)(before, xs, d).sum(0).mean()
