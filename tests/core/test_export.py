"""Every cell and method is lowered for CPU, CUDA and TPU, forward and gradient, in float32; and its
default method as it is traced for each of them.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import seqmem
from tests.helpers.cells import CELLS, LARGE
from tests.helpers.inputs import ones_like_inputs
from tests.helpers.slow import slow_but

PLATFORMS = ("cpu", "cuda", "tpu")
FAMILIES = {"LSTM", "ResetBeforeGRU", "LRU", "DeltaRule", "DepthwiseConv", "Stack"}
# Fast weights whose chunks are other programs than those of the delta rule.
MEMORIES = {
    *("KDA", "MLSTM", "DeltaProduct", "MomentumDeltaRule", "GatedOjaRule", "RWKV6", "RWKV7"),
    *("MesaNet", "GSA", "Mamba3"),
}
# Every cell but the small ones is lowered with the first, and one of each family with the others.
METHODS = [
    seqmem.Scan(),
    seqmem.Scan(recompute=True),
    seqmem.ReferenceScan(),
    seqmem.Newton(chunk_size=3),
    seqmem.QuasiNewton(chunk_size=3),
]
CASES = [(name, METHODS[0]) for name in LARGE]
CASES += [(name, method) for name in sorted(FAMILIES) for method in METHODS[1:]]
QUICK = [(name, METHODS[0]) for name in FAMILIES]


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
    return program(leaves, ones_like_inputs(cell, 11, 3), jnp.array([11, 0, 7]))


@pytest.mark.parametrize(("name", "method"), slow_but(QUICK, CASES), ids=str)
def test_values_and_gradients_lower_for_every_platform(name, method):
    cell = CELLS[name]()
    loss, leaves = loss_of(cell)
    loss = functools.partial(loss, method=method, remat_every=5)
    assert export(loss, leaves, cell, *PLATFORMS).platforms == PLATFORMS


@pytest.mark.parametrize("platform", PLATFORMS[1:])
@pytest.mark.parametrize("name", slow_but({"LSTM", "DeltaRule"}, sorted(FAMILIES | MEMORIES)))
def test_default_methods_lower_for_the_platform_that_they_are_traced_for(name, platform):
    cell = CELLS[name]()
    with seqmem.target_platform(platform):
        exported = export(*loss_of(cell), cell, platform)
    assert exported.platforms == (platform,)
