"""The backward pass, counted in the lowered program: one product per step, weights outside."""

import jax
import jax.numpy as jnp
import pytest
from tests.helpers.programs import lowered

import seqmem
from seqmem._methods.scan.vjp_rules import pace_of_products

T, B, D, H = 64, 11, 5, 7
STRETCH = pace_of_products(B, H).stretch
key = jax.random.key(0)
CELLS = {
    "RNN": seqmem.RNN(D, H, key=key),
    "LSTM": seqmem.LSTM(D, H, key=key),
    "PeepholeLSTM": seqmem.PeepholeLSTM(D, H, key=key),
    "GRU": seqmem.GRU(D, H, key=key),
}
xs = jax.ShapeDtypeStruct((T, B, D), jnp.float32)
platforms = pytest.mark.parametrize("platform", ["cpu", "cuda"])


def forward(cell, xs):
    return seqmem.unroll(cell, cell.init_state(), xs)[1]


def loss(method):
    def of(cell, xs):
        return jnp.sum(seqmem.unroll(cell, cell.init_state(), xs, method=method)[1] ** 2)

    return of


@platforms
@pytest.mark.parametrize("name", CELLS)
def test_forward_makes_one_product_per_step_and_one_projection_per_stretch(name, platform):
    (loop,) = lowered(forward, CELLS[name], xs, platform=platform).innermost
    assert loop.products == STRETCH + 1


@platforms
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_backward_makes_one_product_per_step(name, recompute, platform):
    method = seqmem.Scan(recompute=recompute)
    program = lowered(jax.grad(loss(method)), CELLS[name], xs, platform=platform)
    ahead, back = program.innermost
    assert ahead.products == STRETCH + 1
    assert back.products == 1


@platforms
def test_weight_and_input_gradients_are_products_of_a_block(
    platform,
):
    cell = CELLS["LSTM"]

    def per_block(recompute):
        method = seqmem.Scan(recompute=recompute)
        program = lowered(jax.grad(loss(method), (0, 1)), cell, xs, platform=platform)
        outer = program.inner[-1]
        assert len(outer.innermost) == 1
        return outer.products

    kept, recomputed = per_block(False), per_block(True)
    # Beside these stand dead products: values of projections whose transposes alone are used.
    assert kept >= 3
    assert recomputed >= kept


@platforms
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_no_weight_is_carried_from_step_to_step_of_the_backward_loop(name, recompute, platform):
    cell = CELLS[name]
    method = seqmem.Scan(recompute=recompute)
    back = lowered(jax.grad(loss(method)), cell, xs, platform=platform).innermost[-1]
    weights = {tuple(sorted(leaf.shape)) for leaf in jax.tree.leaves(cell) if leaf.ndim > 1}
    assert not weights & {tuple(sorted(shape)) for shape in back.carried}


def test_the_count_sees_what_a_plain_scan_does():
    program = lowered(jax.grad(loss(seqmem.ReferenceScan())), CELLS["LSTM"], xs, platform="cpu")
    back = program.innermost[-1]
    assert back.products > 1
    assert (4, H, H) in back.carried


@pytest.mark.parametrize("name", CELLS)
def test_kept_over_time_are_the_states_and_by_default_the_pre_activations(name):
    cell = CELLS[name]
    entry = 4 * T * B * H  # bytes of one [T, B, H] array
    states = len(jax.tree.leaves(cell.init_state())) * entry
    gates = {"RNN": 1, "LSTM": 4, "PeepholeLSTM": 4, "GRU": 4}[name]
    small = 4 * 4 * B * H  # initial states, once
    lean = seqmem.memory_report(cell, (T, B, D), seqmem.Scan(recompute=True)).kept
    fast = seqmem.memory_report(cell, (T, B, D), seqmem.Scan()).kept
    assert states <= lean <= states + small
    assert states + gates * entry <= fast <= states + gates * entry + small
