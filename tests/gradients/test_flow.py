"""value_grad_and_flow returns the gradients of all states, in addition to those of the model."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import gradients
from seqmem._core.cell import readout
from seqmem._core.trees import tree_norm
from tests.helpers.cells import CELLS
from tests.helpers.linear import linear_rnn
from tests.helpers.slow import slow

TIME, BATCH = 7, 3
LENGTHS = np.array([TIME, 4, 0])
SCANS = (seqmem.Scan(), seqmem.Scan(recompute=True), seqmem.ReferenceScan())

pytestmark = pytest.mark.usefixtures("float64")


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def sum_of_sines(tree):
    return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(tree))


def loss(cell, state, xs, perturbations=None, **options):
    """A loss of all outputs and of the final state."""
    return sum_of_sines(seqmem.unroll(cell, state, xs, perturbations=perturbations, **options))


def states_of_loop(cell, state, xs, resets):
    states = []
    for x, reset in zip(xs, resets, strict=True):
        state, _ = cell(cell.init_state() if reset else state, x)
        states.append(state)
    return states


def loss_after(cell, state, t, xs, resets):
    """The part of the loss that depends on the state after step t: a loop over the rest."""
    total = sum_of_sines(readout(cell, state, cell.project(xs[t])))
    for later in range(t + 1, len(xs)):
        state, y = cell(cell.init_state() if resets[later] else state, xs[later])
        total = total + sum_of_sines(y)
    return total + sum_of_sines(state)


@functools.partial(jax.jit, static_argnums=3)
def flow_of_loop(cell, state, xs, resets):
    """∂L/∂s_t of one sequence by a separate gradient for every t."""
    states = states_of_loop(cell, state, xs, resets)
    gradients_of_states = [
        jax.grad(functools.partial(loss_after, cell), argnums=0)(s, t, xs, resets)
        for t, s in enumerate(states)
    ]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *gradients_of_states)


@pytest.mark.parametrize(
    ("name", "methods"),
    [
        slow("LSTM", SCANS),
        ("GRU", SCANS[:1]),
        slow("GRU", SCANS[1:]),
        slow("MGU", SCANS),
        slow("Stack", (None, seqmem.ReferenceScan())),
    ],
)
def test_flow_is_the_gradient_of_a_loop_for_every_state(name, methods):
    cell = CELLS[name]()
    xs, resets = jnp.asarray(draw(1, TIME, BATCH, 2)), draw(2, TIME, BATCH) > 1
    assert resets[:4, 1].any()
    state = jax.tree.map(lambda leaf: jnp.asarray(draw(3, BATCH, *leaf.shape)), cell.init_state())
    expected = {
        example: flow_of_loop(
            cell,
            jax.tree.map(lambda leaf, i=example: leaf[i], state),
            xs[:length, example],
            tuple(resets[:length, example].tolist()),
        )
        for example, length in enumerate(LENGTHS)
        if length
    }
    for method in methods:
        measure = gradients.value_grad_and_flow(functools.partial(loss, method=method))
        options = {"lengths": LENGTHS, "resets": resets}
        flow = jax.jit(measure)(cell, state, xs, **options)[2]
        norm = np.asarray(flow.norm())
        for example, length in enumerate(LENGTHS):
            d_states = jax.tree.map(lambda leaf, i=example: leaf[:, i], flow.d_states)
            assert not any(np.any(leaf[length:]) for leaf in jax.tree.leaves(d_states))
            np.testing.assert_array_equal(norm[length:, example], 0)
            if length:
                valid = jax.tree.map(lambda leaf, n=length: leaf[:n], d_states)
                want = expected[example]
                chex.assert_trees_all_close(valid, want, rtol=1e-10, atol=1e-13)
                squares = sum((np.asarray(leaf) ** 2).sum(-1) for leaf in jax.tree.leaves(want))
                np.testing.assert_allclose(norm[:length, example], np.sqrt(squares), rtol=1e-10)


@pytest.mark.parametrize(
    ("remat_every", "reverse"), [(None, False), slow(None, True), slow(3, False), slow(3, True)]
)
def test_value_and_gradient_are_those_of_jax(remat_every, reverse):
    cell, xs = CELLS["LSTM"](), draw(1, TIME, BATCH, 2)
    loss_of_run = functools.partial(loss, remat_every=remat_every, reverse=reverse)
    measure = jax.jit(gradients.value_grad_and_flow(loss_of_run))
    value, grads, flow = measure(cell, None, xs)
    expected = jax.jit(jax.value_and_grad(loss_of_run))(cell, None, xs)
    chex.assert_trees_all_close((value, grads), expected, rtol=1e-12)

    def perturbed_loss(perturbations):
        return loss_of_run(cell, None, xs, perturbations=perturbations)

    zeros = jax.tree.map(jnp.zeros_like, flow.d_states)
    chex.assert_trees_all_close(flow.d_states, jax.jit(jax.grad(perturbed_loss))(zeros), rtol=1e-12)


def test_flow_under_vmap_is_that_of_a_batch():
    cell, xs = CELLS["GRU"](), draw(1, TIME, BATCH, 2)
    measure = gradients.value_grad_and_flow(loss)
    batched = jax.jit(measure)(cell, None, xs)[2].norm()
    mapped = jax.jit(jax.vmap(lambda xs: measure(cell, None, xs)[2].norm(), 1, 1))(xs)
    np.testing.assert_allclose(batched, mapped, rtol=1e-12)


@pytest.mark.slow
def test_flows_of_several_unrolls_have_names():
    encoder, decoder = (seqmem.GRU(5, 5, key=jax.random.key(seed)) for seed in (0, 1))

    def loss_of_both(cells, xs, perturbations):
        encoder, decoder = cells
        state, ys = seqmem.unroll(encoder, None, xs, perturbations=perturbations["encoder"])
        result = seqmem.unroll(decoder, state, ys[:4], perturbations=perturbations["decoder"])
        return sum_of_sines(result), ys

    measure = gradients.value_grad_and_flow(loss_of_both, has_aux=True)
    (_, ys), _, flow = jax.jit(measure)((encoder, decoder), draw(1, TIME, 5))
    assert ys.shape == (TIME, 5)
    assert flow["encoder"].norm().shape == (TIME,)
    assert flow["decoder"].norms().shape == (4,)


def test_norm_of_a_gradient_that_overflows_is_not_finite():
    cell = linear_rnn(1e200)
    _, _, flow = gradients.value_grad_and_flow(loss)(cell, None, jnp.zeros((TIME, 2)))
    assert not np.isfinite(flow.norm()[0])
    assert np.isfinite(flow.norm()[-1])


def test_norm_does_not_overflow_where_the_gradient_does_not():
    tree = {"a": jnp.array([3e30], jnp.float32), "b": jnp.array([4e30], jnp.float32)}
    np.testing.assert_allclose(tree_norm(tree), 5e30, rtol=1e-6)
    flow = gradients.Flow(jax.tree.map(lambda leaf: leaf[None], tree), 1)
    np.testing.assert_allclose(flow.norm(), [5e30], rtol=1e-6)
    np.testing.assert_allclose(flow.norms()["a"], [3e30], rtol=1e-6)


def outputs_instead_of_a_loss(cell, xs, perturbations):
    return seqmem.unroll(cell, None, xs, perturbations=perturbations)[1]


def loss_without_perturbations(cell, xs, perturbations):
    return sum_of_sines(xs)


def loss_of_two_unrolls(cell, xs, perturbations):
    return sum(
        sum_of_sines(seqmem.unroll(cell, None, xs, perturbations=perturbations)) for _ in range(2)
    )


@pytest.mark.parametrize(
    ("wrong_loss", "sentence"),
    [
        (outputs_instead_of_a_loss, "one real number"),
        (loss_without_perturbations, "to no unroll"),
        (loss_of_two_unrolls, "two unrolls"),
    ],
)
def test_loss_without_a_flow_is_refused(wrong_loss, sentence):
    with pytest.raises(ValueError, match=rf"(?s){sentence}.*What to do: "):
        gradients.value_grad_and_flow(wrong_loss)(CELLS["GRU"](), draw(1, TIME, 2))


def test_flow_of_a_counter_is_none():
    class CountingCell(seqmem.AbstractCell):
        rate: jax.Array

        def init_state(self):
            return jnp.zeros(2), jnp.zeros((), jnp.int32)

        def project(self, x):
            return x

        def update(self, state, x):
            return self.rate * state[0] + x, state[1] + 1

        def readout(self, state, x):
            return state[0]

    def loss_of_outputs(cell, xs, perturbations):
        return seqmem.unroll(cell, None, xs, perturbations=perturbations)[1].sum()

    cell = CountingCell(jnp.asarray(0.5))
    _, _, flow = gradients.value_grad_and_flow(loss_of_outputs)(cell, draw(1, 3, 2))
    assert flow.d_states[1] is None
    np.testing.assert_allclose(flow.d_states[0][:, 0], [1.75, 1.5, 1.0])
    np.testing.assert_allclose(flow.norm(), np.sqrt(2) * np.array([1.75, 1.5, 1.0]))
