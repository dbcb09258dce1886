"""Gradients of an online cell, summed over a sequence, and those through time; its trace."""

import jax
import jax.numpy as jnp
import numpy as np

import seqmem

TIME, INPUT, HIDDEN = 7, 3, 5
KEY = jax.random.key(0)


@jax.jit
def gradient_through_time(cell, xs, weights):
    """The gradient of Σ_t w_t ‖y_t‖² by backpropagation through time."""

    def loss(cell):
        return jnp.sum(weights * seqmem.unroll(cell, None, xs)[1] ** 2)

    return jax.grad(loss)(cell)


@jax.jit
def sum_of_online_gradients(online, xs, weights):
    """The same, as the sum of the gradients at single steps."""

    def step(carry, inputs):
        traced, total = carry
        x, weight = inputs
        traced, y = online(traced, x)
        gradient = online.output_gradient(traced, x, 2 * weight * y)
        return (traced, jax.tree.map(jnp.add, total, gradient)), None

    zeros = jax.tree.map(jnp.zeros_like, online.cell)
    return jax.lax.scan(step, (online.init_state(), zeros), (xs, weights))[0][1]


def assert_close(tree, expected):
    assert jax.tree.structure(tree) == jax.tree.structure(expected)
    for leaf, expected_leaf in zip(jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(leaf, expected_leaf, rtol=1e-10, atol=1e-10)


def draw(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def trace_of(online, xs):
    """The trace after a run, complete: for each parameter [n, *p]."""
    traced, _ = seqmem.unroll(online, None, xs)
    rows = jnp.eye(jax.tree.leaves(traced.state)[0].size)
    return jax.vmap(lambda row: online.gradient(traced, row))(rows)
