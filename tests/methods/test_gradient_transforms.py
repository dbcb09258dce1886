"""Gradient transforms apply at every valid step, and nowhere else."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import gradients
from tests.helpers.cells import CELLS
from tests.helpers.slow import slow, slow_but

TIME, BATCH = 13, 3
TRANSFORMS = (
    gradients.ClipValue(0.3),
    gradients.ClipNorm(0.5),
    gradients.Scale(0.7),
    gradients.Detach(4),
)

pytestmark = pytest.mark.usefixtures("float64")


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def total(tree):
    return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(tree))


def gradient(cell, xs, **options):
    def loss(cell, state, xs):
        return total(seqmem.unroll(cell, state, xs, **options))

    return jax.jit(jax.grad(loss, (0, 1, 2)))(cell, cell.init_state(), xs)


@pytest.mark.parametrize("reverse", [slow(False), True])
@pytest.mark.parametrize("transform", slow_but([], TRANSFORMS), ids=repr)
@pytest.mark.parametrize("name", [slow("LSTM"), "MGU"])
def test_scan_transforms_match_reference_scan(name, transform, reverse):
    cell = CELLS[name]()
    xs, lengths = draw(1, TIME, BATCH, 2), np.array([TIME, 6, 1])
    resets = draw(2, TIME, BATCH) > 1.2
    options = {"lengths": lengths, "resets": resets, "reverse": reverse}
    want = gradient(cell, xs, method=seqmem.ReferenceScan(transform=transform), **options)
    for method in (seqmem.Scan(transform=transform), seqmem.Scan(tile=5, transform=transform)):
        for remat_every in (None, 5):
            got = gradient(cell, xs, method=method, remat_every=remat_every, **options)
            chex.assert_trees_all_close(got, want, rtol=1e-11, atol=1e-13)
    plain = gradient(cell, xs, **options)
    with pytest.raises(AssertionError):
        chex.assert_trees_all_close(want, plain, rtol=1e-3)


@pytest.mark.parametrize("reverse", [slow(False), True])
@pytest.mark.parametrize("method", [seqmem.Scan, seqmem.ReferenceScan])
def test_detach_ignores_padding(method, reverse):
    """Against a Python loop over the valid steps, which stops the gradient between windows."""
    cell, every = seqmem.RNN(2, 5, key=jax.random.key(0)), 2
    time, lengths = 7, (5, 4, 1)
    xs, state = draw(1, time, BATCH, 2), draw(2, BATCH, 5)

    def loop(cell, state, xs):
        out = 0.0
        for example, length in enumerate(lengths):
            s = state[example]
            for t in reversed(range(length)) if reverse else range(length):
                later = t + 1 if reverse else t
                if later % every == 0 and 0 < later < length:
                    s = jax.lax.stop_gradient(s)
                s, y = cell(s, xs[t, example])
                out = out + total(y)
            out = out + total(s)
        return out

    def loss(cell, state, xs):
        final, ys = seqmem.unroll(
            cell,
            state,
            xs,
            lengths=list(lengths),
            reverse=reverse,
            method=method(transform=gradients.Detach(every)),
        )
        return total((final, ys))

    got, want = (jax.jit(jax.grad(f, (0, 1, 2)))(cell, state, xs) for f in (loss, loop))
    chex.assert_trees_all_close(got, want, rtol=1e-11, atol=1e-13)


def test_detach_matches_stop_gradient_between_windows():
    cell = CELLS["GRU"]()
    xs = draw(1, TIME, BATCH, 2)

    def loss(cell, state, xs):
        out = 0.0
        for start in range(0, TIME, 4):
            state = jax.lax.stop_gradient(state) if start else state
            state, ys = seqmem.unroll(cell, state, xs[start : start + 4])
            out = out + total(ys)
        return out + total(state)

    want = jax.jit(jax.grad(loss, (0, 1, 2)))(cell, cell.init_state(), xs)
    got = gradient(cell, xs, method=seqmem.Scan(transform=gradients.Detach(4)))
    chex.assert_trees_all_close(got, want, rtol=1e-12)


def test_detach_window_as_long_as_the_time_changes_no_bit():
    cell = CELLS["LSTM"]()
    xs = draw(1, TIME, BATCH, 2)
    got = gradient(cell, xs, method=seqmem.Scan(transform=gradients.Detach(TIME)))
    chex.assert_trees_all_equal(got, gradient(cell, xs))


def test_clip_norm_bounds_the_gradient_of_every_state():
    cell = seqmem.RNN(2, 5, activation=lambda z: z, key=jax.random.key(0))
    cell = jax.tree.map(lambda leaf: 2 * leaf, cell)
    method = seqmem.Scan(transform=gradients.ClipNorm(0.5))

    def loss(cell, xs, perturbations):
        state, _ = seqmem.unroll(cell, None, xs, perturbations=perturbations, method=method)
        return total(state)

    _, _, flow = gradients.value_grad_and_flow(loss)(cell, jnp.asarray(draw(1, TIME, BATCH, 2)))
    np.testing.assert_allclose(flow.norm()[:-1], 0.5, rtol=1e-12)


@pytest.mark.slow
def test_stack_applies_a_transform_in_every_layer():
    stack, transform = CELLS["Stack"](), gradients.Detach(4)
    xs = draw(1, TIME, BATCH, 2)
    got, want = (
        gradient(stack, xs, method=seqmem.layers.LayerByLayer(kind(transform=transform)))
        for kind in (seqmem.Scan, seqmem.ReferenceScan)
    )
    chex.assert_trees_all_close(got, want, rtol=1e-11)


@pytest.mark.parametrize(
    "make", [functools.partial(kind, 0) for kind in map(type, TRANSFORMS)], ids=str
)
def test_gradient_transform_refuses_zero(make):
    with pytest.raises(ValueError, match=r"(?s)=0\..*Expected: .*What to do: "):
        make()
