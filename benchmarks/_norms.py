"""Gradients over time, as numbers: pure functions of one character model and one batch of text."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

import seqmem
from seqmem.tasks import CharacterModel, character_losses

Characters = Int[Array, "time batch"]


def tree_norm(tree: PyTree[Float[Array, "..."]], kept: int = 0) -> Float[Array, "*kept"]:
    """The 2-norm over all leaves and all axes but the first `kept`.

    The largest entry is taken out before squaring: gradients over time reach 1e±30, whose squares
    float32 lacks.
    """
    flat = [leaf.reshape(*leaf.shape[:kept], -1) for leaf in jax.tree.leaves(tree)]
    entries = jnp.concatenate(flat, -1)
    largest = jnp.abs(entries).max(-1)
    usual = (largest > 0) & jnp.isfinite(largest)
    scale = jnp.where(usual, largest, jnp.ones_like(largest))
    return scale * jnp.sqrt(jnp.square(entries / scale[..., None]).sum(-1))


def state_gradients(
    model: CharacterModel, inputs: Characters, targets: Characters
) -> dict[str, Float[Array, "lag batch"]]:
    """‖∂L_T/∂s_{T−k}‖ for every lag k from 0 to T − 1, in one backward pass.

        L_T = −ln P(x_{T+1} | x_1 … x_T)

    Returns:
        "state", the norm over all of the state; where the state has several leaves also "h", the
        norm over the first of them, which is what the cell shows.
    """
    time, batch = inputs.shape
    state = model.init_state(batch)
    zeros = jax.tree.map(lambda leaf: jnp.zeros((time, *leaf.shape), leaf.dtype), state)

    def last_losses(probes):
        _, logits = model(state, inputs, probes=probes)
        return character_losses(logits[-1], targets[-1]).sum()  # no example sees another's state

    by_lag = jax.tree.map(lambda leaf: leaf[::-1], jax.grad(last_losses)(zeros))
    norms = {"state": tree_norm(by_lag, 2)}
    leaves = jax.tree.leaves(by_lag)
    return norms if len(leaves) == 1 else norms | {"h": tree_norm(leaves[0], 2)}


def parameter_gradients(
    model: CharacterModel, inputs: Characters, targets: Characters, lengths: tuple[int, ...]
) -> tuple[Float[Array, " length"], Float[Array, " length"]]:
    """The mean loss over the first T characters, and ‖∂loss/∂θ‖, for every length T.

    θ are all parameters. The lengths share one forward pass, and their backward passes run side by
    side.
    """

    def mean_losses(model):
        _, logits = model(model.init_state(inputs.shape[1]), inputs)
        losses = character_losses(logits, targets).mean(1)
        return jnp.cumsum(losses)[jnp.array(lengths) - 1] / jnp.array(lengths, losses.dtype)

    losses, pull = jax.vjp(mean_losses, model)
    gradients = jax.vmap(lambda d: pull(d)[0])(jnp.eye(len(lengths), dtype=losses.dtype))
    return losses, tree_norm(gradients, 1)


def random_direction(key: PRNGKeyArray, tree: PyTree) -> PyTree:
    """A tree of norm 1, all directions being equally likely."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, len(leaves))
    drawn = [jax.random.normal(k, a.shape, a.dtype) for k, a in zip(keys, leaves, strict=True)]
    norm = tree_norm(drawn)
    return structure.unflatten([leaf / norm for leaf in drawn])


def predictions(
    model: CharacterModel, inputs: Characters, direction: PyTree, step: Float[Array, ""]
) -> Float[Array, "time batch characters"]:
    """P(x_{k+1} | x_1 … x_k) for every k, the cell's weights moved by `step` times a direction."""
    cell = jax.tree.map(lambda weight, way: weight + step * way, model.cell, direction)
    changed = eqx.tree_at(lambda model: model.cell, model, cell)
    _, logits = changed(model.init_state(), inputs, method=seqmem.Scan("autodiff"))
    return jax.nn.softmax(logits)


def prediction_changes(
    model: CharacterModel, inputs: Characters, direction: PyTree
) -> Float[Array, "time batch"]:
    """‖∂P(x_{k+1} | x_1 … x_k)/∂ε‖ for every k, ε being the step of `predictions`: forward mode."""
    zero, one = jnp.zeros((), model.b.dtype), jnp.ones((), model.b.dtype)
    _, change = jax.jvp(lambda step: predictions(model, inputs, direction, step), (zero,), (one,))
    return tree_norm(change, 2)


def prediction_differences(
    model: CharacterModel, inputs: Characters, direction: PyTree, step: float
) -> Float[Array, "time batch"]:
    """The same by central differences, to check it."""
    far = jnp.asarray(step, model.b.dtype)
    above, below = (predictions(model, inputs, direction, way) for way in (far, -far))
    return tree_norm((above - below) / (2 * far), 2)
