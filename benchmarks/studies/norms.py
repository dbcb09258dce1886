"""Norms of gradients over time, for one character model and one batch of text."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

import seqmem
from seqmem import AbstractMethod, gradients
from seqmem._core.trees import tree_norm
from seqmem.layers import LayerByLayer
from seqmem.models import LanguageModel, prefill, token_losses

Characters = Int[Array, "time batch"]


def state_gradients(
    model: LanguageModel,
    inputs: Characters,
    targets: Characters,
    method: AbstractMethod | None = None,
) -> dict[str, Float[Array, "lag batch"]]:
    """‖∂L_T/∂s_{T−k}‖ for every lag k from 0 to T − 1, in one backward pass.

        L_T = −ln P(x_{T+1} | x_1 … x_T)

    Returns:
        "state", the norm over the whole state. Where the state has several leaves also "h", the
        norm over the first of them, which the cell returns as its output.
    """

    def last_losses(model, perturbations):
        _, logits = prefill(model, None, inputs, perturbations=perturbations, method=method)
        # The sum over the examples: no example's loss depends on another example's state.
        return token_losses(logits, targets[-1]).sum()

    _, _, flow = gradients.value_grad_and_flow(last_losses)(model)
    norms = {"state": gradients.by_lag(flow.norm())}
    leaves = jax.tree.leaves(flow.norms())
    return norms if len(leaves) == 1 else norms | {"h": gradients.by_lag(leaves[0])}


def parameter_gradients(
    model: LanguageModel,
    inputs: Characters,
    targets: Characters,
    lengths: tuple[int, ...],
    method: AbstractMethod | None = None,
) -> tuple[Float[Array, " length"], Float[Array, " length"]]:
    """The mean loss over the first T characters, and ‖∂loss/∂θ‖, for every length T.

    θ are all parameters. The lengths share one forward pass; their backward passes are mapped.
    """

    def mean_losses(model):
        by_part = None if method is None else LayerByLayer(None, method, None)
        _, logits = seqmem.unroll(model, None, inputs, method=by_part)
        losses = token_losses(logits, targets).mean(1)
        return jnp.cumsum(losses)[jnp.array(lengths) - 1] / jnp.array(lengths, losses.dtype)

    losses, vjp = jax.vjp(mean_losses, model)
    by_length = jax.vmap(lambda cotangent: vjp(cotangent)[0])(
        jnp.eye(len(lengths), dtype=losses.dtype)
    )
    return losses, tree_norm(by_length, 1)


def predictions(
    model: LanguageModel, inputs: Characters, direction: PyTree, step: Float[Array, ""]
) -> Float[Array, "time batch characters"]:
    """P(x_{k+1} | x_1 … x_k) for every k, with `step` times a direction added to the cell's
    weights.
    """
    cell = jax.tree.map(lambda weight, d: weight + step * d, model.body, direction)
    changed = eqx.tree_at(lambda model: model.body, model, cell)
    by_part = LayerByLayer(None, seqmem.ReferenceScan(), None)
    _, logits = seqmem.unroll(changed, None, inputs, method=by_part)
    return jax.nn.softmax(logits)


def prediction_changes(
    model: LanguageModel, inputs: Characters, direction: PyTree
) -> Float[Array, "time batch"]:
    """‖∂P(x_{k+1} | x_1 … x_k)/∂ε‖ for every k, where ε is the step of `predictions`, by forward
    mode.
    """
    zero, one = jnp.zeros((), model.E.dtype), jnp.ones((), model.E.dtype)

    def predict(step, method):
        return predictions(model, inputs, direction, step)

    return gradients.sensitivity(predict, leading=2)(zero, one)


def prediction_differences(
    model: LanguageModel, inputs: Characters, direction: PyTree, step: float
) -> Float[Array, "time batch"]:
    """`prediction_changes` by central differences, which check it."""
    step = jnp.asarray(step, model.E.dtype)
    above, below = (predictions(model, inputs, direction, signed) for signed in (step, -step))
    return tree_norm((above - below) / (2 * step), 2)
