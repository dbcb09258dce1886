"""Window cells: what they compute, what they see, and what they refuse."""

import re

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem._window.banded import Entry, attend
from seqmem._window.positions import NoPositions

KEY = jax.random.key(0)
TIME, BATCH = 23, 3
AUTODIFF = seqmem.Scan("autodiff")
CELLS = {
    "conv": lambda: seqmem.CausalConv(2, 5, 3, dilation=2, key=KEY),
    "depthwise": lambda: seqmem.DepthwiseConv(2, 5, key=KEY),
    "attention": lambda: seqmem.SlidingWindowAttention(4, 2, 5, key=KEY),
    "attention, ALiBi": lambda: seqmem.SlidingWindowAttention(
        6, 6, 5, key_value_heads=3, positions=seqmem.ALiBi(), key=KEY
    ),
}
every_cell = pytest.mark.parametrize("name", CELLS)
float64 = pytest.mark.usefixtures("float64")


def in_float64(cell):
    """With nothing left at 0 that may be learned."""
    rng = np.random.default_rng(5)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf + 0.3 * rng.normal(size=leaf.shape)), cell)


def normal(*shape):
    return jnp.asarray(np.random.default_rng(len(shape)).normal(size=shape))


def close(got, want):
    chex.assert_trees_all_close(got, want, rtol=1e-10, atol=1e-13)


def reached(cell, *batch):
    """The state after two inputs: not all of a window is there."""
    return seqmem.unroll(cell, cell.init_state(), normal(2, *batch, cell.input_size))[0]


@pytest.mark.parametrize(
    ("time", "reverse"), [(1, False), (4, True), (5, False), (6, True), (TIME, False), (TIME, True)]
)
@float64
@every_cell
def test_all_steps_at_once_are_one_after_another_at_any_length(name, time, reverse):
    cell = seqmem.with_learned_state(CELLS[name]())
    cell = in_float64(cell)
    xs, state = normal(time, BATCH, cell.input_size), reached(cell, BATCH)
    lengths = np.array([time, time // 2, 0])
    resets = np.random.default_rng(1).random((time, BATCH)) < 0.3

    def compute(method):
        def loss(cell, state, xs):
            out = seqmem.unroll(
                cell, state, xs, lengths=lengths, resets=resets, reverse=reverse, method=method
            )
            return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(out)), out

        return jax.grad(loss, (0, 1, 2), has_aux=True)(cell, state, xs)

    close(compute(None), compute(AUTODIFF))


@float64
@every_cell
def test_a_stream_in_pieces_of_any_size_is_the_whole(name):
    cell = in_float64(CELLS[name]())
    xs = normal(TIME, BATCH, cell.input_size)
    whole = seqmem.unroll(cell, cell.init_state(), xs)
    state, ys = cell.init_state(), []
    for piece in np.split(xs, np.cumsum([1, 2, 0, 3, 7, 1, 4])):
        state, own = seqmem.unroll(cell, state, piece)
        ys.append(own)
    close((state, jnp.concatenate(ys)), whole)


@float64
@every_cell
def test_batch_axes_are_examples_and_may_be_none_or_many(name):
    cell = in_float64(CELLS[name]())
    xs = normal(TIME, BATCH, 2, cell.input_size)
    state, ys = seqmem.unroll(cell, cell.init_state(), xs)
    alone, own = seqmem.unroll(cell, cell.init_state(), xs[:, 2, 1])
    close((jax.tree.map(lambda leaf: leaf[2, 1], state), ys[:, 2, 1]), (alone, own))


@float64
@every_cell
def test_the_state_is_what_entered_last(name):
    cell = in_float64(CELLS[name]())
    xs, lengths = normal(TIME, BATCH, cell.input_size), np.array([TIME, 11, 2])
    state, _ = seqmem.unroll(cell, cell.init_state(), xs, lengths=lengths)
    for example, length in enumerate(lengths):
        entries = [cell.project(x)[0] for x in xs[:length, example]]
        window = jax.tree.map(
            lambda init, *leaves: jnp.concatenate([init, jnp.stack(leaves)])[-len(init) :],
            cell.init_state(),
            *entries,
        )
        close(jax.tree.map(lambda leaf, e=example: leaf[e], state), window)


@float64
@every_cell
def test_nothing_is_seen_across_a_reset(name):
    cell = in_float64(CELLS[name]())
    xs = normal(TIME, cell.input_size)
    for at in (0, 4, TIME - 1):
        resets = np.arange(TIME) == at
        state, ys = seqmem.unroll(cell, reached(cell), xs, resets=resets)
        begun, later = seqmem.unroll(cell, cell.init_state(), xs[at:])
        close((state, ys[at:]), (begun, later))


@every_cell
@pytest.mark.parametrize("method", [None, AUTODIFF], ids=repr)
def test_nan_is_seen_as_long_as_it_is_in_the_window(name, method):
    cell, at = CELLS[name](), 7
    size = len(jax.tree.leaves(cell.init_state())[0])
    xs = normal(TIME, cell.input_size).at[at].set(jnp.nan)
    _, ys = seqmem.unroll(cell, cell.init_state(), xs, method=method)
    found = np.isnan(ys).any(-1).tolist()
    taps = range(0, size, getattr(cell, "dilation", 1))
    assert [t for t in range(TIME) if found[t]] == [at + back for back in taps]
    resets = np.arange(TIME) == at + 1
    _, ys = seqmem.unroll(cell, cell.init_state(), xs, resets=resets, method=method)
    assert np.isnan(ys).any(-1).nonzero()[0].tolist() == [at]


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


@every_cell
def test_a_window_runs_at_once_without_being_told(name):
    cell = CELLS[name]()
    xs, resets = normal(TIME, cell.input_size), jnp.zeros(TIME, bool).at[4].set(True)
    run = jax.jit(lambda xs: seqmem.unroll(cell, cell.init_state(), xs, resets=resets))
    text = str(jax.make_jaxpr(jax.grad(lambda xs: run(xs)[1].sum()))(xs))
    assert "scan[" not in text
    assert "while[" not in text


def test_a_convolution_is_numpys():
    conv = seqmem.CausalConv(1, 1, 4, key=KEY)
    depthwise = seqmem.DepthwiseConv(1, 4, key=KEY)
    x = np.asarray(normal(TIME))
    for cell, w in ((conv, conv.W), (depthwise, depthwise.w)):
        _, ys = seqmem.unroll(cell, cell.init_state(), x[:, None])
        np.testing.assert_allclose(ys[:, 0], np.convolve(x, np.ravel(w))[:TIME], atol=1e-6)


def test_a_convolution_is_one_convolution():
    cell = CELLS["conv"]()
    xs = normal(TIME, BATCH, 2)
    text = str(jax.make_jaxpr(lambda xs: seqmem.unroll(cell, cell.init_state(), xs))(xs))
    assert text.count("conv_general_dilated[") == 1


def plain_attention(cell, xs):
    """Over all pairs of steps, masked; positions are counted from the first."""
    t = np.arange(len(xs))
    back = t[:, None] - t
    seen = (back >= 0) & (back < cell.window)
    q, k, v = (
        (xs @ W.T).reshape(len(xs), heads, -1)
        for W, heads in (
            (cell.W_q, cell.heads),
            (cell.W_k, cell.key_value_heads),
            (cell.W_v, cell.key_value_heads),
        )
    )
    at = jnp.asarray(t, xs.dtype)
    q, k = cell.positions.turned(q, at), cell.positions.turned(k, at)
    k, v = (jnp.repeat(leaf, cell.heads // cell.key_value_heads, 1) for leaf in (k, v))
    products = jnp.einsum("thd,shd->hts", q, k) / np.sqrt(q.shape[-1])
    bias = cell.positions.bias(cell.heads, jnp.asarray(back, xs.dtype))
    products = products if bias is None else products + bias
    weights = jax.nn.softmax(jnp.where(seen, products, -jnp.inf))
    return jnp.einsum("hts,shd->thd", weights, v).reshape(len(xs), -1) @ cell.W_o.T


@float64
@pytest.mark.parametrize("positions", [seqmem.RoPE(), seqmem.ALiBi(), None], ids=repr)
@pytest.mark.parametrize("window", [1, 5, TIME, 29])
def test_attention_is_a_masked_softmax(window, positions):
    cell = in_float64(
        seqmem.SlidingWindowAttention(
            12, 6, window, key_value_heads=2, positions=positions, key=KEY
        )
    )
    xs = normal(TIME, 12)

    def gradients(run):
        return jax.grad(lambda cell, xs: jnp.sin(run(cell, xs)).sum(), (0, 1))(cell, xs)

    def banded(cell, xs):
        return seqmem.unroll(cell, cell.init_state(), xs)[1]

    close(banded(cell, xs), plain_attention(cell, xs))
    close(gradients(banded), gradients(plain_attention))


@float64
def test_shared_heads_are_heads_that_are_alike():
    shared = in_float64(seqmem.SlidingWindowAttention(12, 6, 5, key_value_heads=2, key=KEY))
    alike = seqmem.SlidingWindowAttention(12, 6, 5, key=KEY)

    def repeated(W):
        return jnp.repeat(W.reshape(2, 2, 12), 3, 0).reshape(12, 12)

    matrices = shared.W_q, repeated(shared.W_k), repeated(shared.W_v), shared.W_o
    alike = eqx.tree_at(lambda cell: (cell.W_q, cell.W_k, cell.W_v, cell.W_o), alike, matrices)
    xs = normal(TIME, 12)
    ys = [seqmem.unroll(cell, cell.init_state(), xs)[1] for cell in (shared, alike)]
    close(*ys)


@float64
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
    cell = seqmem.SlidingWindowAttention(4, 2, 5, positions=None, key=KEY)
    xs = normal(5, 4)
    other = jnp.concatenate([xs[jnp.array([2, 0, 3, 1])], xs[4:]])
    ys = [seqmem.unroll(cell, cell.init_state(), x)[1][-1] for x in (xs, other)]
    np.testing.assert_allclose(*ys, atol=1e-6)


def test_attention_takes_the_memory_of_its_band():
    cell = seqmem.SlidingWindowAttention(4, 1, 16, key=KEY)
    short, long = (seqmem.memory_report(cell, (time, 4)).peak for time in (1024, 8192))
    assert 7 < long / short < 9
    assert long < 4 * 8192**2 / 8


REFUSED = {
    "a window of nothing": (
        lambda: seqmem.SlidingWindowAttention(4, 2, 0, key=KEY),
        "window=0.*at least 1.*number of inputs",
    ),
    "heads that do not divide": (
        lambda: seqmem.SlidingWindowAttention(4, 3, 5, key=KEY),
        "size=4, heads=3.*divide the size.*divisors",
    ),
    "heads that cannot be grouped": (
        lambda: seqmem.SlidingWindowAttention(12, 6, 5, key_value_heads=4, key=KEY),
        "key_value_heads=4.*divide the heads.*divisors",
    ),
    "odd heads that are turned": (
        lambda: seqmem.SlidingWindowAttention(6, 2, 5, key=KEY),
        "heads of 3 entries.*even number.*ALiBi",
    ),
    "no dilation": (
        lambda: seqmem.CausalConv(2, 3, 2, dilation=0, key=KEY),
        "dilation=0.*at least one step.*leave the dilation out",
    ),
    "no tap": (lambda: seqmem.CausalConv(2, 3, 0, key=KEY), "width=0.*at least one tap.*x_t alone"),
    "no tap of each": (
        lambda: seqmem.DepthwiseConv(2, 0, key=KEY),
        "width=0.*at least one tap.*scales",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused_in_three_parts(what):
    make, words = REFUSED[what]
    came, expected, _ = words.split(".*")
    with pytest.raises(ValueError, match=re.compile(words, re.S)) as refused:
        make()
    lines = str(refused.value).splitlines()
    assert came in lines[0]
    assert expected in lines[1]
    assert lines[1].startswith("  Expected: ")
    assert lines[2].startswith("  What to do: ")
