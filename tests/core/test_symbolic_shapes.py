"""Programs exported for any batch or any number of steps, with a cell as an argument."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.slow import slow_but
from tests.helpers.unrolling import normal

KEY = jax.random.key(0)
CELLS = {
    "LSTM": lambda: seqmem.LSTM(3, 5, key=KEY),
    "LRU": lambda: seqmem.LRU(3, 5, key=KEY),
    "CausalConv": lambda: seqmem.CausalConv(3, 5, width=2, key=KEY),
    "fast weights": lambda: seqmem.LinearAttention(3, 6, num_heads=2, key=KEY),
}


@pytest.mark.parametrize("name", slow_but({"LSTM", "LRU", "CausalConv"}, CELLS))
def test_default_method_is_exported_for_any_time_and_batch(name):
    cell = CELLS[name]()

    def loss(xs):
        return jnp.sum(jnp.abs(seqmem.unroll(cell, None, xs)[1]) ** 2)

    xs = jnp.asarray(normal(7, 2, 3), jnp.float32)
    expected = jax.jit(jax.grad(loss))(xs)
    for shape in ("(7, b, 3)", "(t, b, 3)"):
        specs = jax.export.symbolic_args_specs(xs, shape)
        exported = jax.export.export(jax.jit(jax.grad(loss)))(specs)
        np.testing.assert_allclose(exported.call(xs), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_chunks_side_by_side_are_exported_for_any_batch():
    """Traced as for a GPU; the program is one for the CPU that calls it."""
    cell = seqmem.KDA(3, 6, num_heads=2, key=KEY)
    xs = jnp.asarray(normal(7, 2, 3), jnp.float32)
    method = seqmem.Parallel(chunk_size=2)

    def loss(xs):
        return jnp.sum(seqmem.unroll(cell, None, xs, method=method)[1] ** 2)

    specs = jax.export.symbolic_args_specs(xs, "(7, b, 3)")
    with seqmem.target_platform("gpu"):
        exported = jax.export.export(jax.jit(jax.grad(loss)), platforms=["cpu"])(specs)
    np.testing.assert_allclose(exported.call(xs), jax.grad(loss)(xs), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_newton_is_exported_for_any_batch_and_refuses_any_time():
    cell = CELLS["LSTM"]()

    def run(xs):
        return seqmem.unroll(cell, None, xs, method=seqmem.Newton(chunk_size=4))[1]

    xs = jnp.asarray(normal(7, 2, 3), jnp.float32)
    exported = jax.export.export(jax.jit(run))(jax.export.symbolic_args_specs(xs, "(7, b, 3)"))
    np.testing.assert_allclose(exported.call(xs), run(xs), rtol=1e-5)
    with pytest.raises(ValueError, match=r"symbolic time.*\n.*known.*\n.*ReferenceScan"):
        jax.export.export(jax.jit(run))(jax.export.symbolic_args_specs(xs, "(t, 2, 3)"))


def test_exported_program_takes_a_cell_after_it_was_stored():
    pytest.importorskip("flatbuffers", reason="jax.export stores programs with flatbuffers")
    cell, xs = seqmem.layers.Stack([CELLS["LSTM"](), seqmem.layers.RMSNorm(5)]), normal(7, 2, 3)
    xs = jnp.asarray(xs, jnp.float32)
    seqmem.interop.register_for_export(cell)
    run = jax.jit(lambda cell, xs: seqmem.unroll(cell, None, xs))
    loaded = jax.export.deserialize(jax.export.export(run)(cell, xs).serialize())
    state, ys = loaded.call(cell, xs)
    np.testing.assert_allclose(ys, run(cell, xs)[1], rtol=1e-6)
    assert isinstance(state[0], seqmem.LSTMState)


def test_static_fields_that_cannot_be_stored_are_refused():
    pytest.importorskip("flatbuffers", reason="jax.export stores programs with flatbuffers")
    cell = seqmem.RNN(3, 5, key=KEY)
    seqmem.interop.register_for_export(cell)
    exported = jax.export.export(jax.jit(lambda cell: cell.init_state()))(cell)
    with pytest.raises(ValueError, match=r"static fields.*\n.*numbers.*\n.*jax\.tree\.leaves"):
        exported.serialize()
