"""One step of a cell: a batch is refused, since some cells would compute it wrongly in silence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.unrolling import normal

KEY = jax.random.key(0)
CELLS = {
    "LSTM": lambda: seqmem.LSTM(2, 5, key=KEY),
    "GRU": lambda: seqmem.GRU(2, 5, key=KEY),
    "MGU": lambda: seqmem.MGU(2, 5, key=KEY),
    "MinGRU": lambda: seqmem.MinGRU(2, 5, key=KEY),
    "Stack": lambda: seqmem.layers.Stack([seqmem.GRU(2, 5, key=KEY), seqmem.RNN(5, 3, key=KEY)]),
}


@pytest.mark.parametrize("batch", [1, 2, 3, 4])
@pytest.mark.parametrize("name", CELLS)
def test_step_of_a_batch_is_refused(name, batch):
    cell = CELLS[name]()
    xs = jnp.ones((batch, 2))
    for state in (cell.init_state(), cell.init_state(batch)):
        with pytest.raises(
            ValueError, match=r"got an input of shape.*\n.*\(2,\).*\n.*jax\.vmap.*unroll"
        ):
            cell(state, xs)
    with pytest.raises(ValueError, match=r"got a state.*\n.*one example.*\n.*jax\.vmap.*unroll"):
        cell(cell.init_state(batch), xs[0])


@pytest.mark.parametrize("size", [1, 3])
def test_step_of_an_input_of_another_size_is_refused(size):
    with pytest.raises(ValueError, match=rf"shape \({size},\).*\n.*\(2,\)"):
        CELLS["LSTM"]()(CELLS["LSTM"]().init_state(), jnp.ones(size))


def test_step_of_a_batch_by_vmap_equals_one_step_of_unroll():
    cell, xs = CELLS["LSTM"](), normal(1, 3, 2).astype(np.float32)
    states, ys = jax.vmap(cell)(cell.init_state(3), xs[0])
    want_states, want_ys = seqmem.unroll(cell, None, xs)
    np.testing.assert_allclose(ys, want_ys[0], rtol=1e-6)
    np.testing.assert_allclose(states.c, want_states.c, rtol=1e-6)


def test_lax_scan_runs_a_cell_as_its_docstring_says():
    cell, xs = CELLS["LSTM"](), normal(7, 2).astype(np.float32)
    _, ys = jax.lax.scan(lambda s, x: cell(s, x), cell.init_state(), xs)
    np.testing.assert_allclose(ys, seqmem.unroll(cell, None, xs)[1], rtol=1e-5)


def test_step_of_a_cell_with_a_part_for_each_example_is_refused():
    cell = seqmem.with_input_dropout(CELLS["LSTM"](), 0.5, (3,), key=KEY)
    with pytest.raises(ValueError, match=r"PerExample.*\n.*one example.*\n.*seqmem\.unroll"):
        cell(cell.init_state(), jnp.ones(2))


def test_initial_state_of_a_batch_has_its_axes_in_front():
    for make in CELLS.values():
        cell = make()
        batched = cell.init_state(4, 3)
        for leaf, one in zip(
            jax.tree.leaves(batched), jax.tree.leaves(cell.init_state()), strict=True
        ):
            assert leaf.shape == (4, 3, *one.shape)
    learned = seqmem.with_learned_state(CELLS["GRU"](), jnp.arange(5.0))
    assert (learned.init_state(4)[2] == jnp.arange(5.0)).all()


def test_state_of_none_is_the_initial_state_and_learns():
    cell = seqmem.with_learned_state(CELLS["GRU"](), jnp.arange(5.0))
    xs = normal(7, 3, 2).astype(np.float32)

    def loss(cell, state):
        return jnp.sum(seqmem.unroll(cell, state(cell), xs)[1] ** 2)

    got = jax.value_and_grad(loss)(cell, lambda cell: None)
    want = jax.value_and_grad(loss)(cell, lambda cell: cell.init_state(3))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
