"""The operations of a gate, by which kernels for accelerators refuse what they cannot compute."""

import jax
import jax.numpy as jnp

import seqmem


def test_gate_with_parameters_of_its_own_is_compiled_for_tpu():
    cell = seqmem.PeepholeLSTM(2, 5, key=jax.random.key(0))
    with seqmem.target_platform("tpu"):
        assert seqmem.Fused("float32").refusal(cell, jnp.ones((7, 3, 2))) is None
