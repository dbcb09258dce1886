"""Attention reads the valid steps and nothing else, and an attending cell keeps the contract."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.models import AdditiveAttention, BahdanauDecoder, DotAttention, LuongDecoder
from tests.helpers.refusals import assert_refused

SOURCE, TIME, BATCH, INPUT, HIDDEN, VALUE, UNITS = 11, 5, 3, 2, 7, 4, 6
LENGTHS = np.array([11, 4, 0])
PADDING = np.arange(SOURCE)[:, None, None] >= LENGTHS[:, None]
pytestmark = pytest.mark.usefixtures("float64")


@functools.lru_cache(maxsize=1)
def arrays():
    """Encoder outputs, queries, decoder inputs and decoder states."""
    shapes = (SOURCE, BATCH, VALUE), (TIME, BATCH, HIDDEN), (TIME, BATCH, INPUT), (BATCH, HIDDEN)
    draw = np.random.default_rng(3)
    return tuple(jnp.asarray(draw.normal(size=shape)) for shape in shapes)


def additive():
    return AdditiveAttention(HIDDEN, VALUE, UNITS, key=jax.random.key(1))


def dot():
    return DotAttention(HIDDEN, VALUE, key=jax.random.key(1))


def bahdanau(attention):
    return BahdanauDecoder(seqmem.GRU(INPUT + VALUE, HIDDEN, key=jax.random.key(2)), attention)


def luong(attention):
    return LuongDecoder(seqmem.GRU(INPUT, HIDDEN, key=jax.random.key(2)), attention)


each_attention = pytest.mark.parametrize("make_attention", [additive, dot])
each_decoder = pytest.mark.parametrize(
    "make_decoder",
    [lambda: bahdanau(additive()), lambda: luong(dot())],
    ids=["BahdanauDecoder", "LuongDecoder"],
)


def reference_attention(attention, query, values, length):
    """The equations of the papers in NumPy, one step of the source at a time."""
    if not length:
        return np.zeros(VALUE), np.zeros(len(values))
    scores = []
    for h in np.asarray(values)[:length]:
        if isinstance(attention, AdditiveAttention):
            hidden = np.asarray(attention.W) @ query + np.asarray(attention.U) @ h
            scores.append(np.asarray(attention.v) @ np.tanh(hidden))
        else:
            scores.append(query @ np.asarray(attention.W) @ h)
    weights = np.exp(scores) / np.exp(scores).sum()
    context = sum(a * h for a, h in zip(weights, np.asarray(values), strict=False))
    return context, np.append(weights, np.zeros(len(values) - length))


@each_attention
def test_attention_matches_the_equations_of_its_paper(make_attention):
    attention, (values, queries, *_) = make_attention(), arrays()
    for i, length in enumerate(LENGTHS):
        source = attention.attend_to(values[:, i], lengths=jnp.asarray(length))
        contexts, weights = attention(queries[:, i], source)
        for t in range(TIME):
            expected = reference_attention(
                attention, np.asarray(queries[t, i]), values[:, i], length
            )
            np.testing.assert_allclose(contexts[t], expected[0], atol=1e-13)
            np.testing.assert_allclose(weights[t], expected[1], atol=1e-13)


def outputs(decoder, cell_state, xs, values, lengths):
    cell = decoder.attend_to(values, lengths=lengths)
    return seqmem.unroll(cell, decoder.extend_state(cell_state, xs.shape[1:-1]), xs)[1]


def loss(decoder, cell_state, xs, values, lengths):
    ys, contexts = outputs(decoder, cell_state, xs, values, lengths)
    return (ys**2).sum() + jnp.sin(contexts).sum(), contexts


gradient = jax.jit(jax.value_and_grad(loss, (0, 1, 2, 3), has_aux=True))


@each_decoder
def test_decoder_never_reads_padding(make_decoder):
    values, _, xs, cell_state = arrays()
    decoder = make_decoder()
    clean = gradient(decoder, cell_state, xs, jnp.where(PADDING, 0, values), LENGTHS)
    dirty = gradient(decoder, cell_state, xs, jnp.where(PADDING, jnp.nan, values), LENGTHS)
    for a, b in zip(jax.tree.leaves(clean), jax.tree.leaves(dirty), strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.isfinite(a).all()
    d_values = clean[1][3]
    assert not np.where(PADDING, d_values, 0).any()
    assert np.count_nonzero(d_values) == LENGTHS.sum() * VALUE


@each_decoder
def test_context_is_zero_where_no_source_step_is_valid(make_decoder):
    values, _, xs, cell_state = arrays()
    (_, contexts), _ = gradient(make_decoder(), cell_state, xs, values, LENGTHS)
    assert not contexts[:, 2].any()
    assert contexts[:, :2].all()


def reference_outputs(decoder, state, xs, values, length):
    """One example, one step at a time, without `unroll`."""
    attention, cell = decoder.attention, decoder.cell
    source = attention.attend_to(values, lengths=length)
    ys, contexts = [], []
    for x in xs:
        if isinstance(decoder, BahdanauDecoder):
            context, _ = attention(state, source)
            state, y = cell(state, jnp.concatenate([x, context]))
        else:
            state, y = cell(state, x)
            context, _ = attention(y, source)
        ys.append(y)
        contexts.append(context)
    return jnp.stack(ys), jnp.stack(contexts)


def reference_loss(decoder, cell_state, xs, values, lengths):
    examples = [
        reference_outputs(decoder, cell_state[i], xs[:, i], values[:, i], lengths[i])
        for i in range(BATCH)
    ]
    loss = sum((ys**2).sum() + jnp.sin(contexts).sum() for ys, contexts in examples)
    return loss, jnp.stack([contexts for _, contexts in examples], 1)


@pytest.mark.slow
@each_decoder
def test_decoder_of_a_batch_equals_each_example_with_its_own_source(make_decoder):
    values, _, xs, cell_state = arrays()
    args = make_decoder(), cell_state, xs, values, jnp.asarray(LENGTHS)
    result = gradient(*args)
    expected = jax.jit(jax.value_and_grad(reference_loss, (0, 1, 2, 3), has_aux=True))(*args)
    for a, b in zip(jax.tree.leaves(result), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.slow
@each_decoder
def test_attending_cell_passes_check_cell(make_decoder):
    values, *_ = arrays()
    cell = make_decoder().attend_to(values[:, 1], lengths=jnp.array(4))
    seqmem.testing.check_cell(cell, methods=[seqmem.Scan(tile=3)])


@pytest.mark.slow
@pytest.mark.parametrize("cell_type", [seqmem.LSTM, seqmem.LRU], ids=["LSTM", "LRU"])
def test_bahdanau_query_is_the_whole_state(cell_type):
    values, _, xs, _ = arrays()
    attention = DotAttention(2 * HIDDEN, VALUE, key=jax.random.key(1))
    decoder = BahdanauDecoder(cell_type(INPUT + VALUE, HIDDEN, key=jax.random.key(0)), attention)
    state = jax.tree.map(
        lambda leaf: jnp.arange(1, 1 + leaf.size, dtype=leaf.dtype) / 7, decoder.cell.init_state()
    )
    parts = [part for leaf in jax.tree.leaves(state) for part in (leaf.real, leaf.imag)]
    query = np.concatenate(parts if cell_type is seqmem.LRU else jax.tree.leaves(state))
    cell = decoder.attend_to(values[:, 0])
    _, (_, contexts) = seqmem.unroll(cell, decoder.extend_state(state), xs[:1, 0])
    expected, _ = reference_attention(attention, query, values[:, 0], SOURCE)
    np.testing.assert_allclose(contexts[0], expected, rtol=1e-12)


@pytest.mark.slow
@each_decoder
def test_decoder_weights_give_its_contexts(make_decoder):
    values, _, xs, cell_state = arrays()
    decoder = make_decoder()
    state = decoder.extend_state(cell_state, (BATCH,))
    weights = decoder.weights(values, state, xs, lengths=LENGTHS)
    assert weights.shape == (TIME, BATCH, SOURCE)
    np.testing.assert_allclose(weights.sum(2), np.broadcast_to(LENGTHS > 0, (TIME, BATCH)))
    (_, contexts), _ = gradient(decoder, cell_state, xs, values, LENGTHS)
    np.testing.assert_allclose(
        np.einsum("tbs,sbv->tbv", weights, values), contexts, rtol=1e-12, atol=1e-15
    )


@each_decoder
def test_decoder_init_state_takes_batch_axes(make_decoder):
    values, *_ = arrays()
    decoder = make_decoder()
    cell = decoder.attend_to(values[:, 0])
    for state in (decoder.init_state(13), cell.init_state(13)):
        assert jax.tree.leaves(state)[0].shape == (13, HIDDEN)
        assert jax.tree.structure(state) == jax.tree.structure(cell.init_state())
        assert all(leaf.shape[0] == 13 for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bahdanau(DotAttention(8, VALUE, key=jax.random.key(0))), "BahdanauDecoder got"),
        (lambda: luong(DotAttention(8, VALUE, key=jax.random.key(0))), "LuongDecoder got"),
        (lambda: dot().attend_to(jnp.ones((SOURCE, VALUE + 1))), "DotAttention got encoder"),
        (lambda: dot().attend_to(jnp.ones(VALUE)), "DotAttention got encoder outputs"),
        (
            lambda: dot().attend_to(jnp.ones((SOURCE, VALUE)), lengths=jnp.array(SOURCE + 1)),
            "lengths lie",
        ),
        (
            lambda: dot().attend_to(jnp.ones((SOURCE, 3, VALUE)), lengths=jnp.array([1, 2])),
            "lengths is int",
        ),
        (lambda: DotAttention(0, VALUE, key=jax.random.key(0)), "DotAttention got"),
        (lambda: AdditiveAttention(1, 1, 0, key=jax.random.key(0)), "AdditiveAttention got"),
    ],
)
def test_attention_refuses_wrong_sizes_in_three_parts(call, message):
    assert_refused(message, call)
