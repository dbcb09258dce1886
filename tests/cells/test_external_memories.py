"""NTM and DNC: their initial states, controllers and sizes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.refusals import assert_refused

key = jax.random.key(0)
SIZE, READS = 3, 2


@pytest.mark.slow
def test_initial_state_of_an_ntm_has_its_learned_parts_where_they_belong():
    cell = seqmem.NTM(2, 5, num_slots=7, slot_size=SIZE, num_read_heads=READS, key=key)
    assert (cell.init_state().write_weights[:, 0] > 0.999).all()
    w_0, M_0 = jax.random.normal(key, (READS + 1, 7)), jax.random.normal(key, (7, SIZE))
    cell = eqx.tree_at(lambda cell: (cell.w_0, cell.M_0), cell, (w_0, M_0))
    state, weights = cell.init_state(), jax.nn.softmax(w_0)
    np.testing.assert_array_equal(state.read_weights, weights[:READS])
    np.testing.assert_array_equal(state.write_weights, weights[READS:])
    np.testing.assert_array_equal(state.memory, M_0)
    np.testing.assert_array_equal(state.output, np.append(np.zeros(5), cell.r_0))


@pytest.mark.slow
def test_any_cell_is_a_controller():
    fast = seqmem.DeltaRule(2 + 3, 6, num_heads=2, key=key)
    cell = seqmem.DNC(2, 6, num_slots=7, slot_size=3, controller=fast, key=key)
    assert cell.input_shape == (2,)
    assert cell.output_shape == (9,)
    before = seqmem.NTM(2, 6, num_slots=7, slot_size=3, key=key)
    assert isinstance(before.controller, seqmem.LSTM)
    assert before.output_shape == (9,)


def test_sizes_and_controllers_that_do_not_fit_are_refused():
    sizes = {"num_slots": 7, "slot_size": 3, "key": key}
    for cell in (seqmem.NTM, seqmem.DNC):
        name = cell.__name__
        assert_refused(f"{name} got hidden_size=0", cell, 2, 0, **sizes)
        assert_refused(f"{name} got num_read_heads=0", cell, 2, 5, num_read_heads=0, **sizes)
        assert_refused(f"{name} got slot_size=0", cell, 2, 5, **sizes | {"slot_size": 0})
        assert_refused(f"{name} got num_slots=0", cell, 2, 5, **sizes | {"num_slots": 0})
        small, function = seqmem.GRU(2, 5, key=key), jnp.tanh
        assert_refused(f"{name} got a GRU from (2,) to (5,)", cell, 2, 5, controller=small, **sizes)
        assert_refused(
            f"{name} got a controller that is a", cell, 2, 5, controller=function, **sizes
        )
    assert_refused("NTM got num_write_heads=0", seqmem.NTM, 2, 5, num_write_heads=0, **sizes)
    assert_refused("NTM got max_shift=-1", seqmem.NTM, 2, 5, max_shift=-1, **sizes)
    assert_refused("NTM got num_slots=7", seqmem.NTM, 2, 5, max_shift=4, **sizes)
