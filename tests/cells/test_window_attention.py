"""Banded attention against attention over all pairs of steps; positions; shared heads."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem._cells.attention.attend import attend
from tests.helpers.slow import slow
from tests.helpers.windows import KEY, TIME, close, in_float64, normal


def plain_attention(cell, xs):
    """Attention over all pairs of steps with a mask; positions count from the first step."""
    t = np.arange(len(xs))
    distance = t[:, None] - t
    visible = (distance >= 0) & (distance < cell.window)
    size = xs.shape[1] // cell.num_heads
    q, k, v = ((xs @ W.T).reshape(len(xs), -1, size) for W in (cell.W_q, cell.W_k, cell.W_v))
    positions = jnp.asarray(t, xs.dtype)
    q, k = cell.positions.encode(q, positions), cell.positions.encode(k, positions)
    k, v = (jnp.repeat(leaf, cell.num_heads // leaf.shape[1], 1) for leaf in (k, v))
    products = jnp.einsum("thd,shd->hts", q, k) / np.sqrt(q.shape[-1])
    bias = cell.positions.bias(cell.num_heads, jnp.asarray(distance, xs.dtype))
    products = products if bias is None else products + bias
    weights = jax.nn.softmax(jnp.where(visible, products, -jnp.inf))
    return jnp.einsum("hts,shd->thd", weights, v).reshape(len(xs), -1) @ cell.W_o.T


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("positions", [seqmem.RoPE(), seqmem.ALiBi(), None], ids=repr)
@pytest.mark.parametrize("window", [slow(1), 5, slow(TIME), slow(29)])
def test_attention_matches_a_masked_softmax(window, positions):
    cell = in_float64(
        seqmem.SlidingWindowAttention(
            12,
            num_heads=6,
            window=window,
            num_key_value_heads=2,
            positions=positions,
            key=KEY,
        )
    )
    xs = normal(TIME, 12)

    @functools.partial(jax.jit, static_argnums=0)
    def gradients(run):
        return jax.grad(lambda cell, xs: jnp.sin(run(cell, xs)).sum(), (0, 1))(cell, xs)

    def banded(cell, xs):
        return seqmem.unroll(cell, cell.init_state(), xs)[1]

    close(jax.jit(banded)(cell, xs), jax.jit(plain_attention)(cell, xs))
    close(gradients(banded), gradients(plain_attention))


@pytest.mark.usefixtures("float64")
def test_shared_key_value_heads_match_repeated_heads():
    options = {"num_heads": 6, "window": 5, "key": KEY}
    shared = in_float64(seqmem.SlidingWindowAttention(12, num_key_value_heads=2, **options))
    full = seqmem.SlidingWindowAttention(12, **options)

    def repeated(W):
        return jnp.repeat(W.reshape(2, 2, 12), 3, 0).reshape(12, 12)

    matrices = shared.W_q, repeated(shared.W_k), repeated(shared.W_v), shared.W_o
    full = eqx.tree_at(lambda cell: (cell.W_q, cell.W_k, cell.W_v, cell.W_o), full, matrices)
    xs = normal(TIME, 12)
    ys = [seqmem.unroll(cell, cell.init_state(), xs)[1] for cell in (shared, full)]
    close(*ys)


@pytest.mark.usefixtures("float64")
def test_rope_products_depend_on_differences_of_positions_alone():
    q, k = normal(1, 1, 6), normal(1, 2, 6)[:, :1]
    rope = seqmem.RoPE()

    def product(m, n):
        positions = jnp.array([m, n], q.dtype)
        return (rope.encode(q, positions[:1]) * rope.encode(k, positions[1:])).sum()

    close(product(11.0, 7.0), product(104.0, 100.0))
    assert abs(product(11.0, 7.0) - product(11.0, 6.0)) > 1e-2


def test_alibi_slopes_are_those_of_its_paper():
    def slopes(heads):
        return -seqmem.ALiBi().bias(heads, jnp.ones((1, 1)))[:, 0, 0]

    np.testing.assert_allclose(slopes(8), [2.0**-h for h in range(1, 9)])
    np.testing.assert_allclose(slopes(16), [2.0 ** (-h / 2) for h in range(1, 17)], rtol=1e-6)


@pytest.mark.slow
def test_attention_without_positions_ignores_the_order_of_its_window():
    cell = seqmem.SlidingWindowAttention(4, num_heads=2, window=5, positions=None, key=KEY)
    xs = normal(5, 4)
    other = jnp.concatenate([xs[jnp.array([2, 0, 3, 1])], xs[4:]])
    ys = [seqmem.unroll(cell, cell.init_state(), x)[1][-1] for x in (xs, other)]
    np.testing.assert_allclose(*ys, atol=1e-6)


@pytest.mark.slow
@pytest.mark.optimised
def test_attention_memory_grows_as_its_band():
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


def test_nonfinite_values_reach_the_queries_that_see_them_and_no_others():
    """With finite keys, so that the products are finite too."""
    q, k, v = normal(3, 2, 4), normal(5, 2, 4) + 1, normal(5, 2, 4).at[2, 1, 3].set(jnp.inf)
    visible = jnp.arange(5) <= jnp.arange(1, 4)[:, None]

    @jax.jit
    def outputs(v):
        return attend(q, k, v, visible, None)

    assert np.isnan(outputs(v)).any((1, 2)).tolist() == [False, True, True]
    gradient = jax.grad(lambda v: outputs(v)[0].sum())(v)
    assert np.isfinite(gradient).all()
