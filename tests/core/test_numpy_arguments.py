"""NumPy arrays and lists as arguments of `unroll`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.unrolling import make, normal

XS = normal(7, 3, 2)


def test_lengths_in_a_list_are_those_in_an_array():
    cell = make(seqmem.GRU)
    _, got = seqmem.unroll(cell, None, XS, lengths=[7, 4, 0])
    _, want = seqmem.unroll(cell, None, XS, lengths=jnp.array([7, 4, 0]))
    np.testing.assert_array_equal(got, want)
    with pytest.raises(ValueError, match=r"between 0 and 8.*\n.*<= 7"):
        seqmem.unroll(cell, None, XS, lengths=[7, 8, 0])


def test_numpy_float64_narrows_as_everywhere_in_jax():
    cell = make(seqmem.GRU)
    state, ys = seqmem.unroll(cell, np.zeros((3, 5)), XS)
    assert XS.dtype == np.float64
    assert ys.dtype == state.dtype == jnp.float32
    np.testing.assert_array_equal(ys, seqmem.unroll(cell, None, jnp.asarray(XS))[1])


def test_float64_arrays_of_jax_for_a_float32_cell_are_refused():
    cell = make(seqmem.GRU)
    with jax.enable_x64(True), pytest.raises(ValueError, match=r"float64.*\n.*no wider.*\n.*cast"):
        seqmem.unroll(cell, cell.init_state(), jnp.asarray(XS))
