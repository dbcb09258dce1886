"""Every cell and method is lowered for CPU, CUDA and TPU, forward and gradient, in float32."""

import jax
import jax.numpy as jnp
import pytest

import seqmem
from tests.helpers.cells import CELLS, KINDS
from tests.helpers.slow import slow, slow_but

METHODS = [
    seqmem.Scan(),
    slow(seqmem.Scan(recompute=True)),
    slow(seqmem.ReferenceScan()),
    slow(seqmem.Newton(chunk_size=3)),
    slow(seqmem.QuasiNewton(chunk_size=3)),
]


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("name", slow_but(KINDS, CELLS))
def test_values_and_gradients_lower_for_every_platform(name, method):
    cell = CELLS[name]()
    leaves, tree = jax.tree.flatten(cell)

    def loss(leaves, xs, lengths):
        cell = jax.tree.unflatten(tree, leaves)
        run = seqmem.unroll(cell, None, xs, lengths=lengths, method=method, remat_every=5)
        return sum(jnp.sum(jnp.abs(leaf) ** 2) for leaf in jax.tree.leaves(run))

    exported = jax.export.export(
        jax.jit(jax.value_and_grad(loss)), platforms=("cpu", "cuda", "tpu")
    )(leaves, jnp.ones((11, 3, *cell.input_shape)), jnp.array([11, 0, 7]))
    assert exported.platforms == ("cpu", "cuda", "tpu")
