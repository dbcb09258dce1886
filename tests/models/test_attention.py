"""Attention looks at what is valid and at nothing else, and a cell that attends keeps the law."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.layers import AdditiveAttention, LuongDecoder, BahdanauDecoder, DotAttention

SOURCE, TIME, BATCH, INPUT, HIDDEN, VALUE, SIZE = 11, 5, 3, 2, 7, 4, 6
LENGTHS = (11, 4, 0)
pytestmark = pytest.mark.usefixtures("float64")


@functools.lru_cache(maxsize=1)
def arrays():
    keys = jax.random.split(jax.random.key(3), 4)
    values = jax.random.normal(keys[0], (SOURCE, BATCH, VALUE))
    queries = jax.random.normal(keys[1], (TIME, BATCH, HIDDEN))
    xs = jax.random.normal(keys[2], (TIME, BATCH, INPUT))
    return values, queries, xs, jax.random.normal(keys[3], (BATCH, HIDDEN))


def additive():
    return AdditiveAttention(HIDDEN, VALUE, SIZE, key=jax.random.key(1))


def dot():
    return DotAttention(HIDDEN, VALUE, key=jax.random.key(1))


def before(attention):
    return BahdanauDecoder(seqmem.GRU(INPUT + VALUE, HIDDEN, key=jax.random.key(2)), attention)


def after(attention):
    return LuongDecoder(seqmem.GRU(INPUT, HIDDEN, key=jax.random.key(2)), attention)


every_attention = pytest.mark.parametrize("attention", [additive, dot])
every_decoder = pytest.mark.parametrize(
    "decoder", [lambda: before(additive()), lambda: after(dot())], ids=["before", "after"]
)


def by_hand(attention, query, values, length):
    """The papers' equations, one step of the source after another."""
    if not length:
        return np.zeros(VALUE), np.zeros(len(values))
    scores = []
    for h in np.asarray(values)[:length]:
        if isinstance(attention, AdditiveAttention):
            seen = np.asarray(attention.W) @ query + np.asarray(attention.U) @ h
            scores.append(np.asarray(attention.v) @ np.tanh(seen))
        else:
            scores.append(query @ np.asarray(attention.W) @ h)
    weights = np.exp(scores) / np.exp(scores).sum()
    context = sum(a * h for a, h in zip(weights, np.asarray(values), strict=False))
    return context, np.append(weights, np.zeros(len(values) - length))


@every_attention
def test_a_context_is_what_the_papers_say(attention):
    own, (values, queries, *_) = attention(), arrays()
    for i, length in enumerate(LENGTHS):
        attended = own.over(values[:, i], jnp.array(length))
        contexts, weights = own(queries[:, i], attended)
        for t in range(TIME):
            expected = by_hand(own, np.asarray(queries[t, i]), values[:, i], length)
            np.testing.assert_allclose(contexts[t], expected[0], atol=1e-13)
            np.testing.assert_allclose(weights[t], expected[1], atol=1e-13)


def run(decoder, state, xs, values, lengths):
    cell = decoder.over(values, lengths)
    batch = xs.shape[1:-1]
    _, rest = decoder.init_state()
    start = state, jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*batch, *leaf.shape)), rest)
    return seqmem.unroll(cell, start, xs)[1]


def loss(decoder, state, xs, values, lengths):
    ys, contexts = run(decoder, state, xs, values, lengths)
    return (ys**2).sum() + jnp.sin(contexts).sum()


gradient = jax.jit(jax.value_and_grad(loss, (0, 1, 2, 3)))


@every_decoder
def test_padding_is_never_read(decoder):
    values, _, xs, state = arrays()
    padding = np.arange(SOURCE)[:, None, None] >= np.array(LENGTHS)[:, None]
    own, lengths = decoder(), jnp.array(LENGTHS)
    clean = gradient(own, state, xs, jnp.where(padding, 0, values), lengths)
    dirty = gradient(own, state, xs, jnp.where(padding, jnp.nan, values), lengths)
    for a, b in zip(jax.tree.leaves(clean), jax.tree.leaves(dirty), strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.isfinite(a).all()
    d_values = clean[1][3]
    assert not np.where(padding, d_values, 0).any()
    assert np.count_nonzero(d_values) == sum(LENGTHS) * VALUE


@every_decoder
def test_where_no_step_is_valid_the_context_is_zero(decoder):
    values, _, xs, state = arrays()
    _, contexts = run(decoder(), state, xs, values, jnp.array(LENGTHS))
    assert not contexts[:, 2].any()
    assert contexts[:, :2].all()


def plain(decoder, state, xs, values, length):
    """One example, one step after another, without the library's loop."""
    own, cell = decoder.attention, decoder.cell
    attended = own.over(values, length)
    ys, contexts = [], []
    for x in xs:
        if isinstance(decoder, BahdanauDecoder):
            context, _ = own(state, attended)
            state, y = cell(state, jnp.concatenate([x, context]))
        else:
            state, y = cell(state, x)
            context, _ = own(y, attended)
        ys.append(y)
        contexts.append(context)
    return jnp.stack(ys), jnp.stack(contexts)


def plain_loss(decoder, state, xs, values, lengths):
    every = [
        plain(decoder, state[i], xs[:, i], values[:, i], lengths[i]) for i in range(len(state))
    ]
    return sum((ys**2).sum() + jnp.sin(contexts).sum() for ys, contexts in every)


@every_decoder
def test_a_batch_is_each_example_over_its_own_source_gradients_included(decoder):
    values, _, xs, state = arrays()
    own, lengths = decoder(), jnp.array(LENGTHS)
    found = gradient(own, state, xs, values, lengths)
    expected = jax.jit(jax.value_and_grad(plain_loss, (0, 1, 2, 3)))(
        own, state, xs, values, lengths
    )
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.slow
@every_decoder
def test_a_cell_over_one_source_keeps_every_law(decoder):
    values, *_ = arrays()
    seqmem.testing.check_cell(decoder().over(values[:, 1], jnp.array(4)))


@pytest.mark.parametrize("cell", [seqmem.LSTM, seqmem.LRU], ids=["LSTM", "LRU"])
def test_the_query_before_an_update_is_all_of_the_state(cell):
    own = cell(INPUT + VALUE, HIDDEN, key=jax.random.key(0))
    attention = DotAttention(2 * HIDDEN, VALUE, key=jax.random.key(1))
    values, _, xs, _ = arrays()
    over = BahdanauDecoder(own, attention).over(values, jnp.array(LENGTHS))
    _, (_, contexts) = seqmem.unroll(over, over.init_state(), xs)
    assert contexts.shape == (TIME, BATCH, VALUE)
    assert np.isfinite(contexts).all()


@every_decoder
def test_the_weights_are_those_of_the_contexts(decoder):
    values, _, xs, state = arrays()
    own = decoder()
    cell = own.over(values[:, 0])
    start = state[0], own.init_state()[1]
    weights = own.weights(cell, start, xs[:, 0])
    _, (_, contexts) = seqmem.unroll(cell, start, xs[:, 0])
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_allclose(weights @ values[:, 0], contexts, rtol=1e-12)


@pytest.mark.parametrize(
    ("wrong", "came"),
    [
        (lambda: before(DotAttention(HIDDEN + 1, VALUE, key=jax.random.key(0))), "BahdanauDecoder"),
        (lambda: after(DotAttention(HIDDEN + 1, VALUE, key=jax.random.key(0))), "LuongDecoder"),
        (lambda: dot().over(jnp.ones((SOURCE, VALUE + 1))), "DotAttention over values"),
        (lambda: dot().over(jnp.ones(VALUE)), "DotAttention over values"),
        (lambda: dot().over(jnp.ones((SOURCE, VALUE)), jnp.array(SOURCE + 1)), "lengths lie"),
        (lambda: dot().over(jnp.ones((SOURCE, 3, VALUE)), jnp.array([1, 2])), "lengths is int"),
        (lambda: DotAttention(0, VALUE, key=jax.random.key(0)), "DotAttention got"),
        (lambda: AdditiveAttention(1, 1, 0, key=jax.random.key(0)), "AdditiveAttention got"),
    ],
)
def test_what_does_not_fit_is_refused_in_three_parts(wrong, came):
    with pytest.raises(ValueError, match=rf"(?s)^{came}.*Expected: .*What to do: "):
        wrong()
