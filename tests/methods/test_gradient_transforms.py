"""What is done to the gradient between steps is done at every step, and nowhere else."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.helpers.cells import CELLS
from tests.helpers.slow import slow

import seqmem
from seqmem import gradients

TIME, BATCH = 13, 3
TRANSFORMS = (
    gradients.ClipValue(0.3),
    gradients.ClipNorm(0.5),
    gradients.Scale(0.7),
    gradients.Detach(4),
)

pytestmark = pytest.mark.usefixtures("float64")


def draw(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def total(tree):
    return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(tree))


def gradient(cell, xs, **options):
    def loss(cell, state, xs):
        return total(seqmem.unroll(cell, state, xs, **options))

    return jax.jit(jax.grad(loss, (0, 1, 2)))(cell, cell.init_state(), xs)


@pytest.mark.parametrize("reverse", [slow(False), True])
@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
@pytest.mark.parametrize("name", [slow("LSTM"), "MGU"])
def test_every_form_of_scan_transforms_alike(name, transform, reverse):
    cell = CELLS[name]()
    xs, lengths = draw(1, TIME, BATCH, cell.input_size), np.array([TIME, 6, 1])
    resets = draw(2, TIME, BATCH) > 1.2
    options = {"lengths": lengths, "resets": resets, "reverse": reverse}
    plain = seqmem.ReferenceScan(transform=transform)
    want = gradient(cell, xs, method=plain, **options)
    for method in (seqmem.Scan(transform=transform), seqmem.Scan(tile=5, transform=transform)):
        for chunk in (None, 5):
            got = gradient(cell, xs, method=method, remat_every=chunk, **options)
            chex.assert_trees_all_close(got, want, rtol=1e-11, atol=1e-13)
    untouched = gradient(cell, xs, **options)
    with pytest.raises(AssertionError):
        chex.assert_trees_all_close(want, untouched, rtol=1e-3)


def test_detaching_is_cutting_the_graph():
    cell = CELLS["GRU"]()
    xs = draw(1, TIME, BATCH, cell.input_size)

    def cut(cell, state, xs):
        out = 0.0
        for start in range(0, TIME, 4):
            state = jax.lax.stop_gradient(state) if start else state
            state, ys = seqmem.unroll(cell, state, xs[start : start + 4])
            out = out + total(ys)
        return out + total(state)

    want = jax.jit(jax.grad(cut, (0, 1, 2)))(cell, cell.init_state(), xs)
    got = gradient(cell, xs, method=seqmem.Scan(transform=gradients.Detach(4)))
    chex.assert_trees_all_close(got, want, rtol=1e-12)


def test_a_window_as_long_as_the_time_changes_no_bit():
    cell = CELLS["LSTM"]()
    xs = draw(1, TIME, BATCH, cell.input_size)
    got = gradient(cell, xs, method=seqmem.Scan(transform=gradients.Detach(TIME)))
    chex.assert_trees_all_equal(got, gradient(cell, xs))


def test_a_clipped_norm_bounds_what_the_flow_carries():
    cell = seqmem.RNN(2, 5, activation=lambda z: z, key=jax.random.key(0))
    cell = jax.tree.map(lambda leaf: 2 * leaf, cell)

    def last(cell, xs, perturbations):
        method = seqmem.Scan(transform=gradients.ClipNorm(0.5))
        state, _ = seqmem.unroll(cell, cell.init_state(), xs, perturbations=perturbations, method=method)
        return total(state)

    _, _, flow = gradients.value_grad_and_flow(last)(cell, draw(1, TIME, BATCH, 2))
    np.testing.assert_allclose(flow.norm()[:-1], 0.5, rtol=1e-12)


def test_layers_of_a_stack_have_transforms_of_their_own():
    stack = CELLS["Stack"]()
    xs = draw(1, TIME, BATCH, stack.input_size)
    scans = [
        seqmem.layers.LayerByLayer(*[seqmem.Scan(form, transform=gradients.Detach(4))] * 1)
        for form in ("bptt", "autodiff")
    ]
    got, want = (gradient(stack, xs, method=method) for method in scans)
    chex.assert_trees_all_close(got, want, rtol=1e-11)


@pytest.mark.parametrize(
    "make", [functools.partial(kind, 0) for kind in map(type, TRANSFORMS)], ids=str
)
def test_a_transform_that_makes_no_sense_is_refused(make):
    with pytest.raises(ValueError, match=r"(?s)=0\).*Expected: .*What to do: "):
        make()
