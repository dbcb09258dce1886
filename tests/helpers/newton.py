"""A GRU in float64, and solutions of it that are compiled without optimisation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import seqmem
from seqmem._testing.compiler import compiled

SCAN = seqmem.Scan()
TIME, BATCH, INPUT, HIDDEN = 23, 3, 2, 5
METHODS = (seqmem.Newton(chunk_size=7), seqmem.QuasiNewton(chunk_size=7))
every_method = pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)


def gru(gain, hidden=HIDDEN):
    """A GRU in float64, its initial recurrent weights multiplied by `gain`."""
    cell = seqmem.GRU(INPUT, hidden, key=jax.random.key(0))
    cell = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), cell)
    return eqx.tree_at(lambda cell: cell.U, cell, gain * cell.U)


def solve(cell, xs, lengths=None, resets=None, state=None, *, method, reverse=False):
    """The solution, compiled without optimisation."""
    return compiled(_solve, 0, 1)(method, reverse, cell, xs, lengths, resets, state)


def _solve(method, reverse, cell, xs, lengths, resets, state):
    return seqmem.solve(
        cell, state, xs, lengths=lengths, resets=resets, method=method, reverse=reverse
    )


def differentiate(cell, xs, lengths=None, *, method):
    """The solution, and the gradients of parameters, state and inputs."""
    return compiled(_differentiate, 0)(method, cell, cell.init_state(), xs, lengths)


def _differentiate(method, cell, state, xs, lengths):
    def loss(cell, state, xs):
        solution = _solve(method, False, cell, xs, lengths, None, state)
        values = jax.tree.leaves((solution.state, solution.outputs))
        return sum(jnp.sum(jnp.sin(leaf).real) for leaf in values), solution

    grads, solution = jax.grad(loss, (0, 1, 2), has_aux=True)(cell, state, xs)
    return solution, grads


def values(solution):
    return solution.state, solution.outputs


def relative_error(got, want):
    """The largest difference, relative to the largest entry of each leaf."""
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True)
    return max(float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b))) for a, b in pairs)
