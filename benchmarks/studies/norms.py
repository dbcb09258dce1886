"""Gradients over time, as numbers: pure functions of one character model and one batch of text."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

import seqmem
from seqmem import AbstractMethod, gradients
from seqmem._core.trees import tree_norm
from seqmem.tasks import CharacterModel, character_losses

Characters = Int[Array, "time batch"]


def state_gradients(
    model: CharacterModel,
    inputs: Characters,
    targets: Characters,
    method: AbstractMethod | None = None,
) -> dict[str, Float[Array, "lag batch"]]:
    """‖∂L_T/∂s_{T−k}‖ for every lag k from 0 to T − 1, in one backward pass.

        L_T = −ln P(x_{T+1} | x_1 … x_T)

    Returns:
        "state", the norm over all of the state; where the state has several leaves also "h", the
        norm over the first of them, which is what the cell shows.
    """

    def last_losses(model, perturbations):
        _, logits = model(model.init_state(inputs.shape[1]), inputs, perturbations=perturbations, method=method)
        return character_losses(logits[-1], targets[-1]).sum()  # no example sees another's state

    _, _, flow = gradients.value_grad_and_flow(last_losses)(model)
    norms = {"state": gradients.by_lag(flow.norm())}
    leaves = jax.tree.leaves(flow.norms())
    return norms if len(leaves) == 1 else norms | {"h": gradients.by_lag(leaves[0])}


def parameter_gradients(
    model: CharacterModel,
    inputs: Characters,
    targets: Characters,
    lengths: tuple[int, ...],
    method: AbstractMethod | None = None,
) -> tuple[Float[Array, " length"], Float[Array, " length"]]:
    """The mean loss over the first T characters, and ‖∂loss/∂θ‖, for every length T.

    θ are all parameters. The lengths share one forward pass, and their backward passes run side by
    side.
    """

    def mean_losses(model):
        _, logits = model(model.init_state(inputs.shape[1]), inputs, method=method)
        losses = character_losses(logits, targets).mean(1)
        return jnp.cumsum(losses)[jnp.array(lengths) - 1] / jnp.array(lengths, losses.dtype)

    losses, pull = jax.vjp(mean_losses, model)
    by_length = jax.vmap(lambda d: pull(d)[0])(jnp.eye(len(lengths), dtype=losses.dtype))
    return losses, tree_norm(by_length, 1)


def predictions(
    model: CharacterModel, inputs: Characters, direction: PyTree, step: Float[Array, ""]
) -> Float[Array, "time batch characters"]:
    """P(x_{k+1} | x_1 … x_k) for every k, the cell's weights moved by `step` times a direction."""
    cell = jax.tree.map(lambda weight, way: weight + step * way, model.cell, direction)
    changed = eqx.tree_at(lambda model: model.cell, model, cell)
    _, logits = changed(model.init_state(), inputs, method=seqmem.ReferenceScan())
    return jax.nn.softmax(logits)


def prediction_changes(
    model: CharacterModel, inputs: Characters, direction: PyTree
) -> Float[Array, "time batch"]:
    """‖∂P(x_{k+1} | x_1 … x_k)/∂ε‖ for every k, ε being the step of `predictions`: forward mode."""
    zero, one = jnp.zeros((), model.b.dtype), jnp.ones((), model.b.dtype)

    def predict(step, method):
        return predictions(model, inputs, direction, step)

    return gradients.sensitivity(predict, leading=2)(zero, one)


def prediction_differences(
    model: CharacterModel, inputs: Characters, direction: PyTree, step: float
) -> Float[Array, "time batch"]:
    """The same by central differences, to check it."""
    far = jnp.asarray(step, model.b.dtype)
    above, below = (predictions(model, inputs, direction, way) for way in (far, -far))
    return tree_norm((above - below) / (2 * far), 2)
