"""Every cell and method is lowered for CPU, CUDA and TPU, forward and gradient, in float32; and its
default method as it is traced for each of them.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import seqmem
from tests.helpers.cells import CELLS, KINDS, counts_steps
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow, slow_but

PLATFORMS = ("cpu", "cuda", "tpu")
FAMILIES = {"LSTM", "ResetBeforeGRU", "LRU", "DeltaRule", "DepthwiseConv", "Stack"}
METHODS = [
    seqmem.Scan(),
    slow(seqmem.Scan(recompute=True)),
    slow(seqmem.ReferenceScan()),
    slow(seqmem.Newton(chunk_size=3)),
    slow(seqmem.QuasiNewton(chunk_size=3)),
]


def loss_of(cell):
    """A loss of the cell's leaves, the inputs and the lengths, and the leaves."""
    leaves, tree = jax.tree.flatten(cell)

    def loss(leaves, xs, lengths, **options):
        cell = jax.tree.unflatten(tree, leaves)
        run = seqmem.unroll(cell, None, xs, lengths=lengths, **options)
        leaves = jax.tree.leaves(eqx.filter(run, eqx.is_inexact_array))
        return sum(jnp.sum(jnp.abs(leaf) ** 2) for leaf in leaves)

    return loss, leaves


def export(loss, leaves, cell, *platforms):
    program = jax.export.export(jax.jit(jax.value_and_grad(loss)), platforms=platforms)
    return program(leaves, jnp.ones((11, 3, *cell.input_shape)), jnp.array([11, 0, 7]))


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("name", slow_but(KINDS, CELLS))
def test_values_and_gradients_lower_for_every_platform(name, method):
    cell = CELLS[name]()
    loss, leaves = loss_of(cell)
    loss = functools.partial(loss, method=method, remat_every=5)
    if counts_steps(cell) and isinstance(method, seqmem.Newton | seqmem.QuasiNewton):
        came = f"{type(method).__name__} got a state with entries of float32, int32."
        assert_refused(came, export, loss, leaves, cell, *PLATFORMS)
        return
    assert export(loss, leaves, cell, *PLATFORMS).platforms == PLATFORMS


@pytest.mark.parametrize("platform", PLATFORMS[1:])
@pytest.mark.parametrize("name", slow_but(FAMILIES, CELLS))
def test_default_methods_lower_for_the_platform_that_they_are_traced_for(name, platform):
    cell = CELLS[name]()
    with seqmem.target_platform(platform):
        exported = export(*loss_of(cell), cell, platform)
    assert exported.platforms == (platform,)
