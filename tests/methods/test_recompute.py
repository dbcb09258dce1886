"""`Scan(recompute=True)` computes again what `Scan()` keeps for the backward pass."""

import jax
import jax.numpy as jnp

import seqmem

TIME, INPUT, HIDDEN = 23, 2, 5


def kept_numbers(method):
    """The numbers that wait for the backward pass, without running anything."""
    cell = seqmem.LSTM(INPUT, HIDDEN, key=jax.random.key(0))

    def loss(cell):
        return seqmem.unroll(cell, None, jnp.ones((TIME, INPUT)), method=method)[1].sum()

    pull = jax.eval_shape(lambda cell: jax.vjp(loss, cell)[1], cell)
    return sum(leaf.size for leaf in jax.tree.leaves(pull))


def test_recomputed_run_keeps_no_pre_activations():
    preactivations = TIME * 4 * HIDDEN
    assert kept_numbers(seqmem.Scan()) == kept_numbers(seqmem.Scan(recompute=True)) + preactivations
