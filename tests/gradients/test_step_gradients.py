"""What single steps contribute, against the same by other means."""

import functools

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from seqmem.gradients._steps import contribution
from seqmem.gradients._trajectory import states_before

import seqmem
from seqmem import gradients
from tests.helpers.cells import CELLS

TIME, BATCH = 7, 3
GATED = ["LSTM", "PeepholeLSTM", "ProjectedLSTM", "GRU", "ResetBeforeGRU", "MGU"]

pytestmark = pytest.mark.usefixtures("float64")


def draw(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def measured(cell, state, xs, **marks):
    def loss(cell, perturbations):
        state_, ys = seqmem.unroll(cell, state, xs, perturbations=perturbations, **marks)
        return jnp.sum(jnp.sin(ys)) + sum(jnp.sum(s**2) for s in jax.tree.leaves(state_))

    return jax.jit(gradients.value_grad_and_flow(loss))(cell)


def setting(name):
    cell = CELLS[name]()
    xs = draw(1, TIME, BATCH, cell.input_size)
    marks = {"lengths": np.array([TIME, 4, 0]), "resets": draw(2, TIME, BATCH) > 1}
    state = jax.tree.map(lambda leaf: draw(3, *leaf.shape), cell.init_state())
    return cell, state, xs, marks


@pytest.mark.parametrize("reverse", [False, True])
def test_states_before_are_those_of_a_loop(reverse):
    cell, state, xs, marks = setting("LSTM")
    before = states_before(cell, state, xs, reverse=reverse, **marks)
    resets = np.asarray(marks["resets"])
    for example, length in enumerate(marks["lengths"]):
        own = state
        for t in reversed(range(length)) if reverse else range(length):
            begins = t + 1 < length and resets[t + 1, example] if reverse else resets[t, example]
            own = cell.init_state() if begins else own
            here = jax.tree.map(lambda leaf, t=t, i=example: leaf[t, i], before)
            chex.assert_trees_all_close(here, own, rtol=1e-12, atol=1e-14)
            own, _ = jax.jit(cell.__call__)(own, xs[t, example])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(before))


@pytest.mark.parametrize("name", GATED)
def test_gate_gradients_are_those_of_the_bias(name):
    cell, state, xs, marks = setting(name)
    _, grads, flow = measured(cell, state, xs, **marks)
    gates = gradients.gate_gradients(cell, state, xs, flow, **marks)
    assert tuple(gates) == cell.gates
    for place, gate in enumerate(gates.values()):
        np.testing.assert_allclose(gate.sum((0, 1)), grads.b[place], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", ["LSTM", "MGU"])
@pytest.mark.parametrize("reverse", [False, True])
def test_contributions_add_up_to_the_gradient(name, reverse):
    cell, state, xs, marks = setting(name)
    marks["reverse"] = reverse
    _, grads, flow = measured(cell, state, xs, **marks)
    before = states_before(cell, state, xs, **marks)
    steps = before, xs, flow.d
    parts = [
        contribution(cell, *jax.tree.map(lambda leaf, t=t: leaf[t], steps), batch_axes=1)
        for t in range(TIME)
    ]
    total = jax.tree.map(lambda *leaves: sum(leaves), *parts)
    chex.assert_trees_all_close(total, grads, rtol=1e-11, atol=1e-13)
    norms = gradients.contributions(cell, state, xs, flow, **marks)
    np.testing.assert_allclose(norms, [gradients.tree_norm(part) for part in parts], rtol=1e-11)


def test_penalty_is_zero_where_steps_keep_the_norm():
    cell = seqmem.RNN(2, 5, activation=lambda z: z, key=jax.random.key(0))  # orthogonal at first
    run = cell, cell.init_state(), draw(1, TIME, BATCH, 2)
    _, _, flow = measured(*run)
    np.testing.assert_allclose(gradients.norm_penalty(*run, flow), 0, atol=1e-24)
    doubled = eqx.tree_at(lambda cell: cell.U, cell, 2 * cell.U)
    _, _, flow = measured(doubled, *run[1:])
    np.testing.assert_allclose(gradients.norm_penalty(doubled, *run[1:], flow), TIME, rtol=1e-12)


def test_penalty_pulls_the_norm_back():
    cell = seqmem.RNN(2, 5, activation=jnp.tanh, key=jax.random.key(0))
    cell = eqx.tree_at(lambda cell: cell.U, cell, 0.5 * cell.U)
    xs = draw(1, TIME, BATCH, 2)
    penalty = jax.jit(jax.value_and_grad(gradients.norm_penalty))
    flow = jax.jit(lambda cell: measured(cell, cell.init_state(), xs)[2])
    first = penalty(cell, cell.init_state(), xs, flow(cell))[0]
    for _ in range(30):
        _, slope = penalty(cell, cell.init_state(), xs, flow(cell))
        cell = jax.tree.map(lambda weight, d: weight - 0.01 * d, cell, slope)
    assert penalty(cell, cell.init_state(), xs, flow(cell))[0] < 0.5 * first


@pytest.mark.parametrize("name", ["RNN", "IndRNN"])
@pytest.mark.parametrize("ask", [gradients.gate_gradients, dynamics.gate_saturation])
def test_gates_of_a_cell_without_gates_are_refused(ask, name):
    cell = CELLS[name]()
    run = cell, cell.init_state(), draw(1, TIME, cell.input_size)
    asked = functools.partial(ask, *run, *([None] if ask is gradients.gate_gradients else []))
    with pytest.raises(ValueError, match=r"(?s)has no gates.*Expected: .*What to do: "):
        asked()
