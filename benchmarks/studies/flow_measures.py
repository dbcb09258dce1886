"""What `pretrained_flow` measures of a language model."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree

import seqmem
from seqmem import gradients, layers, models

Tokens = Int[Array, "time batch"]


def body_layers(model: models.LanguageModel) -> tuple[seqmem.AbstractCell, ...]:
    """The layers of a body, from the bottom up."""
    return model.body.layers if isinstance(model.body, layers.Stack) else (model.body,)


def rest_of(model: models.LanguageModel, ys: Array) -> Array:
    """Logits of the body's outputs."""
    if model.norm is not None:
        ys = seqmem.unroll(model.norm, None, ys)[1]
    return seqmem.unroll(model.head, None, ys)[1]


@jax.jit
def stream_gradients(
    model: models.LanguageModel, tokens: Tokens, target: Int[Array, " batch"]
) -> Float[Array, "layer lag"]:
    """‖∂L/∂x^l_t‖ by the lag T − t, the root of the mean square over the batch: x^l_t is what layer
    l gets in step t, and L is −ln P of the token after the last step.
    """
    embedding = model.layers[0]
    parts = body_layers(model)

    def losses(shifts: list[PyTree]) -> Array:
        x = seqmem.unroll(embedding, None, tokens)[1]
        for layer, shift in zip(parts, shifts, strict=True):
            x = jax.tree.map(jnp.add, x, shift)
            x = seqmem.unroll(layer, None, x)[1]
        logits = rest_of(model, x[-1:])[0]
        return optax.softmax_cross_entropy_with_integer_labels(logits, target).sum()

    shapes, x = [], jax.eval_shape(lambda: seqmem.unroll(embedding, None, tokens)[1])
    for layer in parts:
        shapes.append(x)
        x = jax.eval_shape(lambda x, layer=layer: seqmem.unroll(layer, None, x)[1], x)
    zeros = [jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shape) for shape in shapes]
    return jnp.stack([rms_by_lag(gradient) for gradient in jax.grad(losses)(zeros)])


def rms_by_lag(tree: PyTree) -> Float[Array, " lag"]:
    """The root of the mean square over the batch, the last step first."""
    squares = [
        jnp.square(leaf.astype(jnp.float32)).sum(range(2, leaf.ndim)).mean(1)
        for leaf in jax.tree.leaves(tree)
    ]
    return jnp.sqrt(sum(squares))[::-1]


class StateMemory(NamedTuple):
    """How long the state of a layer remembers.

    Attributes:
        layer: its place in the body, from 0.
        leaf: the name of the array of its state.
        half_lives: steps until the difference between two states under the same inputs is half of
            what it was, for each entry of the array's first axis: a head, or a tap of a
            convolution; one number where it has one axis; inf: never.
    """

    layer: int
    leaf: str
    half_lives: Float[np.ndarray, " head"]


def state_memories(model: models.LanguageModel, tokens: Tokens, other: Tokens) -> list[StateMemory]:
    """The half-life of the difference that another past makes, for each array of each state.

    Each layer reads the same inputs from two states: the one after `other`, and an empty one.
    """
    found = []
    for index, (leaves, curves) in enumerate(_differences(model, tokens, other)):
        for leaf, curve in zip(leaves, curves, strict=True):
            half_lives = gradients.gradient_horizons(jnp.asarray(curve), fraction=0.5).decay
            found.append(StateMemory(index, leaf, np.atleast_1d(np.asarray(half_lives, float))))
    return found


def _differences(model: models.LanguageModel, tokens: Tokens, other: Tokens):
    """For each layer with a state: names of its arrays, and [lag, head] norms of the difference."""
    x = seqmem.unroll(model.layers[0], None, tokens)[1]
    z = seqmem.unroll(model.layers[0], None, other)[1]
    for layer in body_layers(model):
        state, z = seqmem.unroll(layer, None, z)
        names, curves = [], []
        if jax.tree.leaves(state):
            pair = _both_states(layer, state, x)
            for path, leaf in jax.tree_util.tree_leaves_with_path(pair):
                if jnp.issubdtype(leaf.dtype, jnp.floating):
                    names.append(jax.tree_util.keystr(path, simple=True, separator="."))
                    curves.append(leaf)
        yield names, curves
        x = seqmem.unroll(layer, None, x)[1]


@jax.jit
def _both_states(layer: seqmem.AbstractCell, state: Any, x: PyTree) -> PyTree:
    runs = [seqmem.solve(layer, start, x, return_states=True).states for start in (state, None)]
    return jax.tree.map(lambda one, two: _norms_by_head(one - two), *runs)


def _norms_by_head(difference: Array) -> Array:
    """[time, head]: the norm over all axes but time and heads, the mean over the batch."""
    squares = jnp.square(difference.astype(jnp.float32))
    if squares.ndim > 3:  # [time, batch, head, ...]
        squares = squares.sum(range(3, squares.ndim))
    else:
        squares = squares.sum(range(2, squares.ndim))[..., None]
    return jnp.sqrt(squares.mean(1))


@functools.partial(jax.jit, static_argnames="position")
def token_influence(
    model: models.LanguageModel, tokens: Tokens, other: Int[Array, " batch"], *, position: int
) -> Float[Array, " lag"]:
    """The total variation between the predictions with one token and with another in its place, by
    the steps since then; the mean over the batch.
    """
    changed = tokens.at[position].set(other)
    one, two = (
        jax.nn.softmax(seqmem.unroll(model, None, part)[1].astype(jnp.float32))
        for part in (tokens, changed)
    )
    return 0.5 * jnp.abs(one - two).sum(-1).mean(1)[position:]


@jax.jit
def losses_by_position(
    model: models.LanguageModel,
    inputs: Int[Array, "segment time batch"],
    targets: Int[Array, "segment time batch"],
) -> Float[Array, " position"]:
    """−ln P of every token, by its position in its stream; the mean over the streams."""

    def read(state: Any, batch: tuple) -> tuple[Any, Array]:
        tokens, targets = batch
        state, logits = seqmem.unroll(model, state, tokens)
        losses = optax.softmax_cross_entropy_with_integer_labels(
            logits.astype(jnp.float32), targets
        )
        return state, losses.mean(1)

    state = model.init_state(inputs.shape[-1])
    return jax.lax.scan(read, state, (inputs, targets))[1].reshape(-1)


def by_octave(losses: np.ndarray) -> list[tuple[int, float]]:
    """The mean loss of the positions from n/2 to n, for n = 64, 128, …, the length."""
    ends = [64 * 2**k for k in range(64) if 64 * 2**k <= len(losses)]
    return [(end, float(np.mean(losses[end // 2 : end]))) for end in ends]
