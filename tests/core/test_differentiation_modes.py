"""Which modes of differentiation the methods have, and what the others say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.unrolling import normal

KEY = jax.random.key(0)
REFUSAL = r"forward-mode differentiation.*\n.*\n.*ReferenceScan\(\)"


def loss_of(cell, method):
    return lambda xs: jnp.sum(seqmem.unroll(cell, None, xs, method=method)[1] ** 2)


def example():
    return seqmem.LSTM(2, 5, key=KEY), jnp.asarray(normal(7, 2), jnp.float32)


@pytest.mark.parametrize("method", [None, seqmem.Scan(), seqmem.Newton()], ids=str)
def test_forward_mode_of_a_method_without_it_is_explained(method):
    cell, xs = example()
    loss = loss_of(cell, method)
    with pytest.raises(ValueError, match=REFUSAL):
        jax.jvp(loss, (xs,), (xs,))
    with pytest.raises(ValueError, match=REFUSAL):
        jax.jacfwd(loss)(xs)
    with pytest.raises(ValueError, match=REFUSAL):
        jax.grad(lambda xs: jax.jvp(loss, (xs,), (xs,))[1])(xs)


def test_reference_scan_has_every_mode():
    cell, xs = example()
    loss = loss_of(cell, seqmem.ReferenceScan())
    gradient = jax.grad(loss_of(cell, None))
    _, tangent = jax.jit(lambda xs: jax.jvp(loss, (xs,), (xs,)))(xs)
    np.testing.assert_allclose(tangent, jnp.vdot(jax.jit(gradient)(xs), xs), rtol=1e-4)
    product = jax.jit(lambda xs: jax.jvp(jax.grad(loss), (xs,), (xs,))[1])(xs)
    want = jax.jit(jax.grad(lambda x: jnp.vdot(gradient(x), xs)))(xs)
    np.testing.assert_allclose(product, want, rtol=1e-3, atol=1e-5)


def test_parallel_diagonal_cells_have_forward_mode():
    cell, xs = seqmem.MinGRU(2, 5, key=KEY), jnp.asarray(normal(7, 2), jnp.float32)
    _, tangent = jax.jvp(loss_of(cell, seqmem.Parallel()), (xs,), (xs,))
    want = jnp.vdot(jax.grad(loss_of(cell, None))(xs), xs)
    np.testing.assert_allclose(tangent, want, rtol=1e-4)


def test_other_type_errors_are_passed_on():
    class Broken(seqmem.AbstractCell):
        def init_state(self):
            return jnp.zeros(2)

        def project(self, x):
            return x

        def update(self, s, u):
            raise TypeError("of the cell's own")

        def readout(self, s, u):
            return s

    with pytest.raises(TypeError, match="of the cell's own"):
        seqmem.unroll(Broken(), None, jnp.ones((3, 2)))
