"""Sizes and programs that the tests of `Fused` share."""

import jax
import jax.numpy as jnp

import seqmem

TIME, BATCH, INPUT = 7, 3, 2
KEY = jax.random.key(0)
EXACT = seqmem.Fused(precision="float32", interpret=True)


def lower_gradient(cell):
    """For a TPU, by Pallas."""
    xs = jax.ShapeDtypeStruct((TIME, BATCH, INPUT), jnp.float32)

    def loss(cell, xs):
        return seqmem.unroll(cell, None, xs, method=seqmem.Fused("float32"))[1].sum()

    with seqmem.target_platform("tpu"):
        return jax.jit(jax.grad(loss)).trace(cell, xs).lower(lowering_platforms=("tpu",))
