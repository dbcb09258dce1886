"""Attention in a band against attention over all pairs of steps; positions; shared heads."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.helpers.windows import KEY, TIME, close, in_float64, normal

import seqmem
from seqmem._cells.window.banded import Entry, attend
from seqmem._cells.window.positions import NoPositions


def plain_attention(cell, xs):
    """Over all pairs of steps, masked; positions are counted from the first."""
    t = np.arange(len(xs))
    back = t[:, None] - t
    seen = (back >= 0) & (back < cell.window)
    q, k, v = (
        (xs @ W.T).reshape(len(xs), heads, -1)
        for W, heads in (
            (cell.W_q, cell.num_heads),
            (cell.W_k, cell.num_key_value_heads),
            (cell.W_v, cell.num_key_value_heads),
        )
    )
    at = jnp.asarray(t, xs.dtype)
    q, k = cell.positions.turned(q, at), cell.positions.turned(k, at)
    k, v = (jnp.repeat(leaf, cell.num_heads // cell.num_key_value_heads, 1) for leaf in (k, v))
    products = jnp.einsum("thd,shd->hts", q, k) / np.sqrt(q.shape[-1])
    bias = cell.positions.bias(cell.num_heads, jnp.asarray(back, xs.dtype))
    products = products if bias is None else products + bias
    weights = jax.nn.softmax(jnp.where(seen, products, -jnp.inf))
    return jnp.einsum("hts,shd->thd", weights, v).reshape(len(xs), -1) @ cell.W_o.T


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("positions", [seqmem.RoPE(), seqmem.ALiBi(), None], ids=repr)
@pytest.mark.parametrize("window", [1, 5, TIME, 29])
def test_attention_is_a_masked_softmax(window, positions):
    cell = in_float64(
        seqmem.SlidingWindowAttention(
            12, num_heads=6, window=window, num_key_value_heads=2, positions=positions, key=KEY
        )
    )
    xs = normal(TIME, 12)

    def gradients(run):
        return jax.grad(lambda cell, xs: jnp.sin(run(cell, xs)).sum(), (0, 1))(cell, xs)

    def banded(cell, xs):
        return seqmem.unroll(cell, cell.init_state(), xs)[1]

    close(banded(cell, xs), plain_attention(cell, xs))
    close(gradients(banded), gradients(plain_attention))


@pytest.mark.usefixtures("float64")
def test_shared_heads_are_heads_that_are_alike():
    shared = in_float64(
        seqmem.SlidingWindowAttention(12, num_heads=6, window=5, num_key_value_heads=2, key=KEY)
    )
    alike = seqmem.SlidingWindowAttention(12, num_heads=6, window=5, key=KEY)

    def repeated(W):
        return jnp.repeat(W.reshape(2, 2, 12), 3, 0).reshape(12, 12)

    matrices = shared.W_q, repeated(shared.W_k), repeated(shared.W_v), shared.W_o
    alike = eqx.tree_at(lambda cell: (cell.W_q, cell.W_k, cell.W_v, cell.W_o), alike, matrices)
    xs = normal(TIME, 12)
    ys = [seqmem.unroll(cell, cell.init_state(), xs)[1] for cell in (shared, alike)]
    close(*ys)


@pytest.mark.usefixtures("float64")
def test_rope_knows_differences_of_positions_alone():
    q, k = normal(1, 1, 6), normal(1, 2, 6)[:, :1]
    rope = seqmem.RoPE()

    def product(m, n):
        at = jnp.array([m, n], q.dtype)
        return (rope.turned(q, at[:1]) * rope.turned(k, at[1:])).sum()

    close(product(11.0, 7.0), product(104.0, 100.0))
    assert abs(product(11.0, 7.0) - product(11.0, 6.0)) > 1e-2


def test_alibis_slopes_are_its_papers():
    def slopes(heads):
        return -seqmem.ALiBi().bias(heads, jnp.ones((1, 1)))[:, 0, 0]

    np.testing.assert_allclose(slopes(8), [2.0**-h for h in range(1, 9)])
    np.testing.assert_allclose(slopes(16), [2.0 ** (-h / 2) for h in range(1, 17)], rtol=1e-6)


def test_without_positions_a_window_is_a_set():
    cell = seqmem.SlidingWindowAttention(4, num_heads=2, window=5, positions=None, key=KEY)
    xs = normal(5, 4)
    other = jnp.concatenate([xs[jnp.array([2, 0, 3, 1])], xs[4:]])
    ys = [seqmem.unroll(cell, cell.init_state(), x)[1][-1] for x in (xs, other)]
    np.testing.assert_allclose(*ys, atol=1e-6)


@pytest.mark.optimised
def test_attention_takes_the_memory_of_its_band():
    cell = seqmem.SlidingWindowAttention(4, num_heads=1, window=16, key=KEY)

    def loss(cell, xs):
        return jnp.sum(seqmem.unroll(cell, None, xs)[1] ** 2)

    short, long = (
        seqmem.gradients.memory_report(
            loss, cell, jax.ShapeDtypeStruct((time, 4), jnp.float32)
        ).temporaries
        for time in (1024, 8192)
    )
    assert 7 < long / short < 9
    assert long < 4 * 8192**2 / 8


def test_values_that_are_not_finite_reach_those_who_see_them_and_no_others():
    """Where the keys are finite, so that no product says so."""
    q, k, v = normal(1, 3, 2, 4), normal(1, 5, 2, 4), normal(1, 5, 2, 4).at[0, 2, 1, 3].set(jnp.inf)
    visible = jnp.arange(5) <= jnp.arange(1, 4)[:, None]
    at = jnp.zeros((1, 3)), jnp.zeros((1, 5))

    def shown(v):
        return attend(NoPositions(), q, Entry(k, v, jnp.ones((1, 5))), visible[None], at)

    assert np.isnan(shown(v)).any((0, 2, 3)).tolist() == [False, True, True]
    gradient = jax.grad(lambda v: shown(v)[0, 0].sum())(v)
    assert np.isfinite(gradient).all()
