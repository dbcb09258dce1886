"""An encoder and a decoder: what is told at once is what is told step by step."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.decoding import beam_search, greedy
from seqmem.layers import (
    AdditiveAttention,
    LuongDecoder,
    BahdanauDecoder,
    Bidirectional,
    DotAttention,
    EncoderDecoder,
    scheduled_sampling,
)

READ, SAID, TIME, STEPS, BATCH, SIZE, HIDDEN = 11, 13, 7, 5, 3, 2, 4
LENGTHS = (7, 3, 0)
pytestmark = pytest.mark.usefixtures("float64")


def no_attention(keys):
    return seqmem.LSTM(SIZE, HIDDEN, key=keys[0])


def after(keys):
    cell = seqmem.GRU(SIZE, HIDDEN, key=keys[0])
    return LuongDecoder(cell, DotAttention(HIDDEN, 2 * HIDDEN, key=keys[1]))


def before(keys):
    cell = seqmem.GRU(SIZE + 2 * HIDDEN, HIDDEN, key=keys[0])
    return BahdanauDecoder(cell, AdditiveAttention(HIDDEN, 2 * HIDDEN, 3, key=keys[1]))


DECODERS = {"none": no_attention, "after": after, "before": before}
every_decoder = pytest.mark.parametrize("decoder", DECODERS.values(), ids=DECODERS)


@functools.cache
def made(decoder, dropout=0.0):
    keys = jax.random.split(jax.random.key(5), 5)
    cells = [seqmem.GRU(SIZE, HIDDEN, key=key) for key in keys[:2]]
    return EncoderDecoder(
        Bidirectional(*cells), decoder(keys[2:4]), (READ, SAID), SIZE, key=keys[4], dropout=dropout
    )


@functools.cache
def sentences():
    keys = jax.random.split(jax.random.key(6))
    source = jax.random.randint(keys[0], (TIME, BATCH), 0, READ)
    return source, jnp.array(LENGTHS), jax.random.randint(keys[1], (STEPS, BATCH), 0, SAID)


def call(model, *args, **options):
    return jax.jit(type(model).__call__)(model, *args, **options)


@every_decoder
def test_what_is_told_at_once_is_what_is_told_step_by_step(decoder):
    model, (source, lengths, target) = made(decoder), sentences()
    logits = call(model, source, lengths, target)

    @jax.jit
    def alone(source, target):
        step, state = model.begin(source)
        return jax.lax.scan(lambda *given: step(*given), state, target)[1]

    for i, length in enumerate(LENGTHS):
        if length:  # without the padding
            expected = alone(source[:length, i], target[:, i])
            np.testing.assert_allclose(logits[:, i], expected, rtol=1e-11, atol=1e-13)


def test_padding_is_never_read():
    model, (source, lengths, target) = made(before), sentences()
    padding = np.arange(TIME)[:, None] >= np.array(LENGTHS)

    def loss(model, source):
        return (model(source, lengths, target) ** 2).sum()

    run = jax.jit(jax.value_and_grad(loss))
    clean = run(model, source)
    for other in (0, READ + 5):  # the second is no token, and its vector would be NaN
        dirty = run(model, jnp.where(padding, other, source))
        for a, b in zip(jax.tree.leaves(clean), jax.tree.leaves(dirty), strict=True):
            np.testing.assert_array_equal(a, b)
            assert np.isfinite(a).all()


def test_a_token_that_is_none_shows():
    model, (source, lengths, target) = made(no_attention), sentences()
    logits = call(model, source, lengths, target.at[2, 1].set(SAID))
    assert np.isnan(logits[2:, 1]).all()
    assert np.isfinite(logits[:2]).all()
    assert np.isfinite(logits[:, [0, 2]]).all()


@pytest.mark.slow
def test_the_gradient_of_a_batch_is_the_sum_of_those_of_its_sentences():
    model, (source, lengths, target) = made(before), sentences()

    def loss(model, source, lengths, target):
        return (model(source, lengths, target) ** 2).sum()

    run = jax.jit(jax.grad(loss))
    together = run(model, source, lengths, target)
    each = [run(model, source[:, i], lengths[i], target[:, i]) for i in range(BATCH)]
    expected = jax.tree.map(lambda *parts: sum(parts), *each)
    for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(expected), strict=True):
        assert np.any(a)
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_a_batch_is_decoded_as_its_sentences_are():
    model, (source, lengths, _) = made(after), sentences()
    limits = {"begin": 1, "end": 2, "max_length": 6}

    def translate(source, length):
        step, state = model.begin(source, length)
        return greedy(step, state, **limits), beam_search(step, state, width=3, **limits)

    greedily, beam = jax.jit(jax.vmap(translate, in_axes=(1, 0)))(source, lengths)
    assert (beam.log_probability[:, 0] >= greedily.log_probability - 1e-9).all()
    for i in range(BATCH):
        for tokens, length, total in (
            (greedily.tokens[i], greedily.length[i], greedily.log_probability[i]),
            (beam.tokens[i, 0], beam.length[i, 0], beam.log_probability[i, 0]),
        ):
            read = jnp.concatenate([jnp.array([1], tokens.dtype), tokens[:-1]])
            logits = call(model, source[:, i], lengths[i], read)
            each = jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[:, None], 1)[:, 0]
            there = np.arange(6) < int(length)
            np.testing.assert_allclose(jnp.where(there, each, 0).sum(), total, rtol=1e-10)


def test_dropout_wants_a_key():
    model, sure = made(after, dropout=0.4), made(after)
    given = sentences()
    np.testing.assert_array_equal(call(model, *given), call(sure, *given))
    keys = jax.random.split(jax.random.key(0))
    first, second = (call(model, *given, key=key) for key in keys)
    assert np.any(first != second)
    np.testing.assert_array_equal(first, call(model, *given, key=keys[0]))
    np.testing.assert_array_equal(call(sure, *given, key=keys[0]), call(sure, *given))


def talkative(model):
    """It says 4, whatever it reads."""
    return eqx.tree_at(lambda model: model.a, model, model.a.at[4].set(1e3))


def test_scheduled_sampling_that_never_samples_is_teacher_forcing():
    model, given = made(before), sentences()
    run = jax.jit(scheduled_sampling)
    found = run(model, *given, 0.0, key=jax.random.key(0))
    np.testing.assert_allclose(found, call(model, *given), rtol=1e-11, atol=1e-13)


def test_scheduled_sampling_that_always_samples_reads_what_it_says():
    model, (source, lengths, target) = talkative(made(after)), sentences()
    found = jax.jit(scheduled_sampling)(model, source, lengths, target, 1.0, key=jax.random.key(0))
    own = call(model, source, lengths, target.at[1:].set(4))
    np.testing.assert_allclose(found, own, rtol=1e-11)
    assert np.any(np.abs(own - call(model, source, lengths, target)) > 1e-6)


def test_scheduled_sampling_samples_as_often_as_it_is_told():
    model, (source, _, target) = talkative(made(no_attention)), sentences()
    count, target = 2000, jnp.broadcast_to(target[:2, :1], (2, 2000))
    source = jnp.broadcast_to(source[:, :1], (TIME, count))
    found = jax.jit(scheduled_sampling)(model, source, None, target, 0.3, key=jax.random.key(0))
    as_told = call(model, source[:, :1], None, target[:, :1])
    sampled = np.abs(found[1] - as_told[1]).max(-1) > 1e-9
    assert abs(sampled.mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / count)
    np.testing.assert_allclose(found[0], jnp.broadcast_to(as_told[0], found[0].shape))


def test_no_gradient_passes_what_is_drawn():
    model, (source, lengths, target) = talkative(made(after)), sentences()

    def loss(model):
        key = jax.random.key(0)
        logits = scheduled_sampling(model, source, lengths, target, 1.0, key=key)
        return jnp.sin(logits).sum()

    def as_given(model):
        return jnp.sin(model(source, lengths, target.at[1:].set(4))).sum()

    found, expected = (jax.jit(jax.grad(own))(model) for own in (loss, as_given))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_an_alignment_sums_to_one():
    model, (source, _, target) = made(after), sentences()
    weights = model.alignment(source[:, 0], target[:, 0])
    assert weights.shape == (STEPS, TIME)
    np.testing.assert_allclose(weights.sum(1), 1)


@pytest.mark.parametrize(
    ("wrong", "came"),
    [
        (lambda: made(no_attention, dropout=1.0), "EncoderDecoder got rate=1.0"),
        (lambda: made(no_attention).alignment(*sentences()[::2]), "alignment of a decoder"),
        (lambda: made(after).begin(sentences()[0]), r"begin got a source of shape \(7, 3\)"),
        (lambda: made(after)(sentences()[0], jnp.array([7, 8, 1]), sentences()[2]), "lengths lie"),
        (
            lambda: scheduled_sampling(made(after), *sentences(), 1.5, key=jax.random.key(0)),
            "scheduled_sampling got probability=1.5",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_three_parts(wrong, came):
    with pytest.raises(ValueError, match=rf"(?s)^{came}.*Expected: .*What to do: "):
        wrong()
