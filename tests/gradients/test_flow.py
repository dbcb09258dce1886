"""value_and_grad gives the gradients of all states beside those of the model."""

import functools

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.helpers.cells import CELLS

import seqmem
from seqmem import gradients

TIME, BATCH = 7, 3
LENGTHS = np.array([TIME, 4, 0])
METHODS = (seqmem.Scan(), seqmem.Scan(recompute=True), seqmem.ReferenceScan())

pytestmark = pytest.mark.usefixtures("float64")


def draw(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def squares(tree):
    return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(tree))


def loss(cell, state, xs, lengths=None, resets=None, perturbations=None, **options):
    """A loss that looks at all outputs and at the final state."""
    marks = {"lengths": lengths, "resets": resets, "perturbations": perturbations}
    return squares(seqmem.unroll(cell, state, xs, **marks, **options))


def one_by_one(cell, state, xs, resets):
    """∂L/∂s_t of one sequence by a vjp of its own for every t: all after step t, run again."""

    def rest(state, t):
        total = 0.0
        for later in range(t + 1, len(xs)):
            state = cell.init_state() if resets[later] else state
            state, y = cell(state, xs[later])
            total = total + squares(y)
        return total + squares(state)

    def shown(state, t):  # the output of step t looks at the state too
        drive = cell.project(xs[t])
        return squares(seqmem._cell.readout(cell, state, drive))

    before, found = state, []
    for t in range(len(xs)):
        before = cell.init_state() if resets[t] else before
        before, _ = cell(before, xs[t])
        found.append(jax.grad(lambda s, t=t: rest(s, t) + shown(s, t))(before))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)


@pytest.mark.parametrize("name", ["LSTM", "GRU", "MGU", "Stack"])
def test_norms_are_those_of_a_vjp_for_every_step(name):
    cell = CELLS[name]()
    xs, resets = draw(1, TIME, BATCH, cell.input_size), np.asarray(draw(2, TIME, BATCH) > 1)
    state = jax.tree.map(lambda leaf: draw(3, BATCH, *leaf.shape), cell.init_state())
    flows = [
        jax.jit(functools.partial(gradients.value_grad_and_flow(loss), method=method))(
            cell, state, xs, LENGTHS, resets
        )[2]
        for method in (METHODS if name != "Stack" else (None, seqmem.ReferenceScan()))
    ]
    for example, length in enumerate(LENGTHS):
        own = jax.tree.map(lambda leaf, i=example: leaf[i], state)
        if length:
            begins = resets[:length, example]
            want = jax.jit(lambda cell, own, xs, r=begins: one_by_one(cell, own, xs, r))(
                cell, own, xs[:length, example]
            )
        for flow in flows:
            got = jax.tree.map(lambda leaf, i=example: leaf[:, i], flow.d)
            assert not any(np.any(leaf[length:]) for leaf in jax.tree.leaves(got))
            np.testing.assert_array_equal(flow.norm()[length:, example], 0)
            if length:
                chex.assert_trees_all_close(
                    jax.tree.map(lambda leaf, n=length: leaf[:n], got), want, rtol=1e-10, atol=1e-13
                )
                norm = np.sqrt(sum((np.asarray(w) ** 2).sum(-1) for w in jax.tree.leaves(want)))
                np.testing.assert_allclose(flow.norm()[:length, example], norm, rtol=1e-10)


@pytest.mark.parametrize("chunk", [None, 3])
@pytest.mark.parametrize("reverse", [False, True])
def test_value_and_gradient_are_those_of_jax(chunk, reverse):
    cell, xs = CELLS["LSTM"](), draw(1, TIME, BATCH, CELLS["LSTM"]().input_size)
    own = functools.partial(loss, remat_every=chunk, reverse=reverse)
    value, grads, flow = jax.jit(gradients.value_grad_and_flow(own))(cell, cell.init_state(), xs)
    want = jax.jit(jax.value_and_grad(own))(cell, cell.init_state(), xs)
    chex.assert_trees_all_close((value, grads), want, rtol=1e-12)
    zeros = jax.tree.map(jnp.zeros_like, flow.d)
    added = jax.jit(jax.grad(lambda perturbations: own(cell, cell.init_state(), xs, perturbations=perturbations)))
    chex.assert_trees_all_close(flow.d, added(zeros), rtol=1e-12)


def test_under_vmap_every_example_has_its_own_flow():
    cell, xs = CELLS["GRU"](), draw(1, TIME, BATCH, CELLS["GRU"]().input_size)
    measured = gradients.value_grad_and_flow(loss)
    _, _, together = measured(cell, cell.init_state(), xs)
    alone = jax.vmap(lambda xs: measured(cell, cell.init_state(), xs)[2].norm(), 1, 1)(xs)
    np.testing.assert_allclose(together.norm(), alone, rtol=1e-12)


def test_several_unrolls_are_told_apart_by_name():
    low, high = (seqmem.GRU(5, 5, key=jax.random.key(seed)) for seed in (0, 1))

    def both(cells, xs, perturbations):
        state, ys = seqmem.unroll(cells[0], cells[0].init_state(), xs, perturbations=perturbations["low"])
        return squares(seqmem.unroll(cells[1], state, ys[:4], perturbations=perturbations["high"])), ys

    (_, ys), _, flow = gradients.value_grad_and_flow(both, has_aux=True)((low, high), draw(1, TIME, 5))
    assert ys.shape == (TIME, 5)
    assert flow["low"].norm().shape == (TIME,)
    assert flow["high"].norms().shape == (4,)


def test_what_is_not_finite_stays_so():
    cell = seqmem.RNN(2, 3, activation=lambda z: z, key=jax.random.key(0))
    cell = eqx.tree_at(lambda cell: cell.U, cell, 1e200 * jnp.eye(3))
    _, _, flow = gradients.value_grad_and_flow(loss)(cell, cell.init_state(), jnp.zeros((TIME, 2)))
    assert not np.isfinite(flow.norm()[0])
    assert np.isfinite(flow.norm()[-1])


def test_norms_do_not_overflow_where_gradients_do_not():
    tree = {"a": jnp.array([3e30], jnp.float32), "b": jnp.array([4e30], jnp.float32)}
    np.testing.assert_allclose(gradients.tree_norm(tree), 5e30, rtol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda cell, xs, perturbations: seqmem.unroll(cell, cell.init_state(), xs)[1], "one real number"),
        (lambda cell, xs, perturbations: squares(xs), "to no unroll"),
        (
            lambda cell, xs, perturbations: sum(
                squares(seqmem.unroll(cell, cell.init_state(), xs, perturbations=perturbations)) for _ in range(2)
            ),
            "to two unrolls",
        ),
    ],
    ids=["no scalar", "lost perturbations", "one name for two"],
)
def test_a_loss_that_cannot_be_measured_is_refused(wrong, sentence):
    cell = CELLS["GRU"]()
    with pytest.raises(ValueError, match=rf"(?s){sentence}.*What to do: "):
        gradients.value_grad_and_flow(wrong)(cell, draw(1, TIME, cell.input_size))


def test_lags_are_counted_from_each_sequences_end():
    curve = jnp.array([[1.0, 1.0, 0.0], [2.0, 0.0, 0.0], [3.0, 0.0, 0.0]])
    got = gradients.by_lag(curve, jnp.array([3, 1, 0]))
    np.testing.assert_array_equal(got, [[3, 1, 0], [2, 0, 0], [1, 0, 0]])
