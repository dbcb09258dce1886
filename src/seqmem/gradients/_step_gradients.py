"""The parts of a gradient that single steps contribute: at the gates, and of the parameters."""

import jax
from jaxtyping import Array, Float, PyTree

from .._core.batching import vmap_batch
from .._core.cell import AbstractCell, project, update
from .._core.precision import keep_inexact
from .._core.problem import Drive, State
from .._core.trees import tree_norm
from .._methods.scan.vjp_rules import pull_to
from ..dynamics._gate_values import check_gates
from ..dynamics._trajectory import states_before
from ._flow import Flow


def gate_gradients(
    cell: AbstractCell, state: State | None, xs: PyTree, flow: Flow, **options
) -> dict[str, Float[Array, "time *batch hidden"]]:
    """∂L/∂u_t for the drive u of every gate, by name: the gradient at each gate and step.

        ∂L/∂u_t = (∂s_t/∂u_t)ᵀ ∂L/∂s_t,    u_t = project(x_t)

    Args:
        cell: a cell with gates, which are the first axis of its drive.
        state: the state that the run started from; None is `cell.init_state()`.
        xs: the inputs of the run.
        flow: the flow of the run, from `value_grad_and_flow`.
        options: `lengths`, `mask`, `resets` and `reverse` of the run.

    Raises:
        ValueError: where the cell has no gates.

    Example:
        >>> import jax, seqmem
        >>> def loss(cell, state, xs, perturbations):
        ...     return seqmem.unroll(cell, state, xs, perturbations=perturbations)[1].sum()
        >>> cell, xs = seqmem.LSTM(3, 5, key=jax.random.key(0)), jax.numpy.ones((7, 3))
        >>> _, _, flow = seqmem.gradients.value_grad_and_flow(loss)(cell, None, xs)
        >>> seqmem.gradients.gate_gradients(cell, None, xs, flow)["forget"].shape
        (7, 5)
    """
    check_gates(cell)
    before = states_before(cell, state, xs, **options)

    def gradient_of_drive(cell: AbstractCell, state: State, x: PyTree, d_state: State) -> Array:
        def updated(drive: Drive) -> State:
            return keep_inexact(update(cell, state, drive))

        return pull_to(updated, d_state, project(cell, x, state))[0]

    batch_axes = flow.leading_axes - 1
    d_drive = vmap_batch(gradient_of_drive, cell, batch_axes, time=True)(before, xs, flow.d_states)
    return {name: d_drive[..., index, :] for index, name in enumerate(cell.gates)}


def contributions(
    cell: AbstractCell, state: State | None, xs: PyTree, flow: Flow, **options
) -> Float[Array, " time"]:
    """‖g_t‖, the norm of the part of the parameters' gradient that each step contributes.

        ∂L/∂θ = Σ_t g_t,    g_t = Σ_batch (∂s_t/∂θ)ᵀ ∂L/∂s_t    (s_{t−1} held constant)

    θ are the parameters of `project` and `update`; those of the readout take no part in the
    recurrence. Only one g_t is in memory at a time. Arguments as for `gate_gradients`.
    """
    before = states_before(cell, state, xs, **options)

    def norm(step: tuple[State, PyTree, State]) -> Array:
        return tree_norm(contribution(cell, *step, batch_axes=flow.leading_axes - 1))

    return jax.lax.map(norm, (before, xs, flow.d_states))


def contribution(
    cell: AbstractCell, before: State, x: PyTree, d_state: State, *, batch_axes: int
) -> AbstractCell:
    """g_t of `contributions`, from the states before a step, its inputs and ∂L/∂s_t."""

    def updated(cell: AbstractCell) -> State:
        def step(cell: AbstractCell, state: State, x: PyTree) -> State:
            return keep_inexact(update(cell, state, project(cell, x, state)))

        return vmap_batch(step, cell, batch_axes)(before, x)

    return pull_to(updated, d_state, cell)[0]
