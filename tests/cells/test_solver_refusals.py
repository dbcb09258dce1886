"""Solvers and memories that do not fit are refused."""

import jax
import jax.numpy as jnp
import pytest

import seqmem
from tests.helpers.given_writes import GivenWrites
from tests.helpers.refusals import assert_refused

INPUT, HEADS, KEY = 2, 2, 5


def test_impossible_solvers_are_refused():
    for solver in (seqmem.ConjugateGradients, seqmem.Chebyshev):
        for steps in (0, -1, 2.0, True, None):
            assert_refused(f"{solver.__name__} got steps={steps!r}.", solver, steps)
    for make in (seqmem.MesaNet, seqmem.GatedKalmaNet):
        message = f"{make.__name__} got solver='cg'."
        assert_refused(message, make, INPUT, 6, num_heads=2, solver="cg", key=jax.random.key(0))
    message = "GatedKalmaNet got ridge=0.0."
    assert_refused(
        message, seqmem.GatedKalmaNet, INPUT, 6, num_heads=2, ridge=0.0, key=jax.random.key(0)
    )


class Removing(GivenWrites):
    def read(self, memory, query):
        return memory.read(query)


class Norms(GivenWrites):
    def read(self, memory, query):
        return memory.squared_norm()


@pytest.mark.parametrize("method", [seqmem.Scan(), seqmem.Parallel()], ids=repr)
def test_memory_that_cannot_be_read_again_is_refused(method):
    one = jnp.ones((3, HEADS, KEY))
    memory = seqmem.Memory(jnp.zeros((HEADS, KEY, KEY)))
    write = seqmem.Write(one, one, one, remove=one)
    message = "Removing has a read of its own, and writes"
    assert_refused(message, seqmem.unroll, Removing(memory), memory, write, method=method)


def test_norm_of_a_memory_with_decays_per_channel_is_refused():
    one = jnp.ones((3, HEADS, KEY))
    memory = seqmem.Memory(jnp.zeros((HEADS, KEY, KEY)))
    write = seqmem.Write(one, one, one, -one)
    message = "squared_norm of a memory with a decay for each of 5 keys."
    assert_refused(message, seqmem.unroll, Norms(memory), memory, write, method=seqmem.Parallel())
