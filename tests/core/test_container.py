"""A cell that is made of others leaves each of them its precision."""

import jax
import jax.numpy as jnp
import numpy as np

import seqmem
from seqmem.layers import Stack

KEY = jax.random.key(0)


def test_step_of_a_stack_in_bfloat16_is_that_of_each_cell():
    """The stack casts none of their parameters."""
    cells = seqmem.as_precision(
        [seqmem.MinGRU(3, 5, key=KEY), seqmem.MinGRU(5, 2, key=KEY)], jnp.bfloat16
    )
    network, x = Stack(cells), jnp.linspace(-0.7, 1.1, 3)
    states = jax.tree.map(lambda leaf: leaf + 0.3, network.init_state())
    first, between = cells[0](states[0], x)
    second, want = cells[1](states[1], between)
    got, y = network(states, x)
    for one, other in zip(jax.tree.leaves((got, y)), (first, second, want), strict=True):
        np.testing.assert_array_equal(one, other)
