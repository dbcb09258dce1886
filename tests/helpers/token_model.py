"""A small model of the next token, for the tests of decoding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

import seqmem

BEGIN, END, TOKENS, MAX_LENGTH = 3, 2, 5, 4
LIMITS = {"begin": BEGIN, "end": END, "max_length": MAX_LENGTH}


@jax.jit
def apply_model(model, state, token):
    """A GRU over one-hot tokens with a linear readout; the end token is likely."""
    cell, V = model
    state, y = cell(state, jax.nn.one_hot(token, TOKENS, dtype=V.dtype))
    return state, V @ y + jax.nn.one_hot(END, TOKENS, dtype=V.dtype)


@functools.cache
def make_model():
    with jax.ensure_compile_time_eval():  # the first caller may be traced
        keys = jax.random.split(jax.random.key(7))
        return seqmem.GRU(TOKENS, 7, key=keys[0]), 3 * jax.random.normal(keys[1], (TOKENS, 7))


def step():
    return Partial(apply_model, make_model())


def states(count, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(count, 7)))


@jax.jit
def log_probabilities(state, tokens):
    """ln P of each token of a sequence, and the state after the last step."""
    inputs = jnp.concatenate([jnp.array([BEGIN], tokens.dtype), tokens[:-1]])
    state, logits = jax.lax.scan(step(), state, inputs)
    return jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[:, None], 1)[:, 0], state
