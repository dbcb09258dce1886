"""Cells without a state on every method, gradients included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.layers import Embedding, LayerNorm, RMSNorm, Stack
from tests.helpers.unrolling import normal

KEY = jax.random.key(0)
VECTORS = normal(7, 3, 5).astype(np.float32)
TOKENS = np.arange(21).reshape(7, 3) % 11
CASES = {
    "RMSNorm": (lambda: RMSNorm(5), VECTORS),
    "LayerNorm": (lambda: LayerNorm(5), VECTORS),
    "Embedding": (lambda: Embedding(11, 5, key=KEY), TOKENS),
    "Stack": (lambda: Stack([Embedding(11, 5, key=KEY), RMSNorm(5)]), TOKENS),
}
METHODS = [seqmem.Scan(), seqmem.Scan(recompute=True), seqmem.ReferenceScan(), seqmem.QuasiNewton()]


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_cell_without_state_has_the_gradient_of_its_default_method(name, method):
    make, xs = CASES[name]
    cell = make()

    def loss(cell, method):
        solution = seqmem.solve(
            cell, None, xs, method=method, return_states=True, lengths=[7, 4, 0]
        )
        assert not jax.tree.leaves((solution.state, solution.states))
        return jnp.sum(jnp.sin(solution.outputs))

    got, want = (jax.value_and_grad(loss)(cell, m) for m in (method, None))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
