"""`EncoderDecoder`: teacher forcing, decoding step by step, batches, padding and dropout agree."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.decoding import beam_search, greedy
from seqmem.layers import Bidirectional, Stack, deep
from seqmem.models import (
    AdditiveAttention,
    BahdanauDecoder,
    DotAttention,
    EncoderDecoder,
    LuongDecoder,
    scheduled_sampling,
)
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow

SOURCE_TOKENS, TARGET_TOKENS, TIME, STEPS, BATCH, SIZE, HIDDEN = 11, 13, 7, 5, 3, 2, 4
LENGTHS = np.array([7, 3, 0])
pytestmark = pytest.mark.usefixtures("float64")


def plain(keys):
    return seqmem.LSTM(SIZE, HIDDEN, key=keys[0])


def luong(keys):
    cell = seqmem.GRU(SIZE, HIDDEN, key=keys[0])
    return LuongDecoder(cell, DotAttention(HIDDEN, 2 * HIDDEN, key=keys[1]))


def bahdanau(keys):
    cell = seqmem.GRU(SIZE + 2 * HIDDEN, HIDDEN, key=keys[0])
    return BahdanauDecoder(cell, AdditiveAttention(HIDDEN, 2 * HIDDEN, 3, key=keys[1]))


each_decoder = pytest.mark.parametrize("make_decoder", [plain, luong, bahdanau])


@functools.cache
def make_model(make_decoder):
    keys = jax.random.split(jax.random.key(5), 5)
    encoder = Bidirectional(*(seqmem.GRU(SIZE, HIDDEN, key=key) for key in keys[:2]))
    return EncoderDecoder(
        encoder,
        make_decoder(keys[2:4]),
        (SOURCE_TOKENS, TARGET_TOKENS),
        SIZE,
        key=keys[4],
    )


@functools.cache
def make_small_model(dropout=0.0):
    """A model that compiles fast: two RNNs without attention."""
    keys = jax.random.split(jax.random.key(5), 3)
    encoder, decoder = (seqmem.RNN(SIZE, HIDDEN, key=key) for key in keys[:2])
    vocabulary_sizes = SOURCE_TOKENS, TARGET_TOKENS
    return EncoderDecoder(encoder, decoder, vocabulary_sizes, SIZE, dropout=dropout, key=keys[2])


@functools.cache
def tokens():
    """Source and target."""
    draw = np.random.default_rng(6)
    source = draw.integers(0, SOURCE_TOKENS, (TIME, BATCH))
    return jnp.asarray(source), jnp.asarray(draw.integers(0, TARGET_TOKENS, (STEPS, BATCH)))


@jax.jit
def call(model, source, target, lengths=LENGTHS, key=None):
    return model(source, target, lengths=lengths, key=key)


@pytest.mark.parametrize("make_decoder", [plain, slow(luong), slow(bahdanau)])
def test_teacher_forcing_of_a_padded_batch_equals_decoding_one_source_without_padding(make_decoder):
    model, (source, target) = make_model(make_decoder), tokens()
    logits = call(model, source, target)

    @jax.jit
    def decode(source, target):
        step, state = model.start_decoding(source)
        return jax.lax.scan(lambda *args: step(*args), state, target)[1]

    expected = decode(source[: LENGTHS[1], 1], target[:, 1])
    np.testing.assert_allclose(logits[:, 1], expected, rtol=1e-11, atol=1e-13)


def test_encoder_decoder_never_reads_padding():
    model, (source, target) = make_model(bahdanau), tokens()
    padding = np.arange(TIME)[:, None] >= LENGTHS

    def loss(model, source):
        return (model(source, target, lengths=LENGTHS) ** 2).sum()

    run = jax.jit(jax.value_and_grad(loss))
    clean = run(model, source)
    for token in (0, SOURCE_TOKENS + 5):  # the embedding of an unknown token is NaN
        dirty = run(model, jnp.where(padding, token, source))
        for a, b in zip(jax.tree.leaves(clean), jax.tree.leaves(dirty), strict=True):
            np.testing.assert_array_equal(a, b)
            assert np.isfinite(a).all()


def test_unknown_target_token_gives_nan_from_its_step_on():
    model, (source, target) = make_small_model(), tokens()
    logits = call(model, source, target.at[2, 1].set(TARGET_TOKENS))
    assert np.isnan(logits[2:, 1]).all()
    assert np.isfinite(logits[:2]).all()
    assert np.isfinite(logits[:, [0, 2]]).all()


@pytest.mark.slow
def test_encoder_decoder_runs_deep_bidirectional_encoder_and_deep_decoder():
    keys = jax.random.split(jax.random.key(5), 5)
    encoder = deep(seqmem.MinGRU, SIZE, 3, num_layers=2, bidirectional=True, key=keys[0])
    cell = Stack([seqmem.MinGRU(SIZE, 5, key=keys[1]), seqmem.MinGRU(5, HIDDEN, key=keys[2])])
    decoder = LuongDecoder(cell, DotAttention(HIDDEN, 2 * 3, key=keys[3]))
    vocabulary_sizes = SOURCE_TOKENS, TARGET_TOKENS
    model = EncoderDecoder(encoder, decoder, vocabulary_sizes, SIZE, key=keys[4])
    assert model.B.shape == (5 + HIDDEN, 2 * 2 * 3)
    source, target = tokens()
    logits = call(model, source, target)
    np.testing.assert_array_equal(logits[:, 1], call(model, source.at[3:, 1].set(0), target)[:, 1])
    later = call(model, source.at[2, 1].add(1), target)  # the last valid step of the second source
    assert (np.abs(later - logits).max((0, 2)) > 1e-6).tolist() == [False, True, False]


@pytest.mark.slow
def test_gradient_of_a_batch_is_the_sum_over_its_examples():
    model, (source, target) = make_model(bahdanau), tokens()

    def loss(model, source, lengths, target):
        return (model(source, target, lengths=lengths) ** 2).sum()

    run = jax.jit(jax.grad(loss))
    of_batch = run(model, source, jnp.asarray(LENGTHS), target)
    of_examples = [
        run(model, source[:, i], jnp.asarray(LENGTHS[i]), target[:, i]) for i in range(BATCH)
    ]
    expected = jax.tree.map(lambda *parts: sum(parts), *of_examples)
    for a, b in zip(jax.tree.leaves(of_batch), jax.tree.leaves(expected), strict=True):
        assert np.any(a)
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_decoded_log_probabilities_equal_teacher_forcing():
    model, (source, _) = make_model(luong), tokens()
    limits = {"begin": 1, "end": 2, "max_length": STEPS}

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(1, 0))
    def translate(source, lengths):
        step, state = model.start_decoding(source, lengths=lengths)
        return greedy(step, state, **limits), beam_search(step, state, width=3, **limits)

    greedy_decoded, beam = translate(source, jnp.asarray(LENGTHS))
    best = jax.tree.map(lambda leaf: leaf[:, 0], beam)
    assert (best.log_probability >= greedy_decoded.log_probability - 1e-9).all()
    for decoded in (greedy_decoded, best):
        target = jnp.concatenate([jnp.ones((1, BATCH), jnp.int32), decoded.tokens.T[:-1]])
        log_probabilities = jax.nn.log_softmax(call(model, source, target))
        chosen = np.take_along_axis(np.asarray(log_probabilities), decoded.tokens.T[..., None], 2)
        valid = np.arange(STEPS)[:, None] < np.asarray(decoded.length)
        expected = np.where(valid, chosen[..., 0], 0).sum(0)
        np.testing.assert_allclose(decoded.log_probability, expected, rtol=1e-10)


@pytest.mark.parametrize("seed", [None, 3])
def test_encoder_decoder_and_its_dropout_match_their_equations(seed):
    rate, (source, target) = 0.4, tokens()
    model = make_small_model(dropout=rate)
    key = None if seed is None else jax.random.key(seed)
    keys = (None,) * 3 if key is None else jax.random.split(key, 3)

    def drop(key, x):
        if key is None:
            return x
        return x * np.asarray(jax.random.bernoulli(key, 1 - rate, x.shape)) / (1 - rate)

    E, F, B, C = (np.asarray(leaf) for leaf in (model.E, model.F, model.B, model.C))
    xs = drop(keys[0], np.sqrt(SIZE) * E[source])
    final, _ = seqmem.unroll(model.encoder, None, jnp.asarray(xs), lengths=LENGTHS)
    xs = drop(keys[1], np.sqrt(SIZE) * F[target])
    state = jnp.tanh(final @ B.T)
    _, ys = seqmem.unroll(model.decoder.cell, state, jnp.asarray(xs))
    features = drop(keys[2], np.tanh(ys @ C.T + model.b))
    expected = features @ F.T + model.a
    np.testing.assert_allclose(call(model, source, target, key=key), expected, rtol=1e-12)


def test_dropout_of_rate_0_ignores_the_key():
    model, (source, target) = make_small_model(), tokens()
    logits = call(model, source, target, key=jax.random.key(0))
    np.testing.assert_array_equal(logits, call(model, source, target))


def always_predict_4(model):
    """The model with a large bias for the token 4."""
    return eqx.tree_at(lambda model: model.a, model, model.a.at[4].set(1e3))


@jax.jit
def sampled_logits(model, source, target, probability, lengths=LENGTHS):
    key = jax.random.key(0)
    return scheduled_sampling(model, source, target, probability, lengths=lengths, key=key)


def test_scheduled_sampling_with_probability_0_is_teacher_forcing():
    model, (source, target) = make_model(bahdanau), tokens()
    logits = sampled_logits(model, source, target, 0.0)
    np.testing.assert_allclose(logits, call(model, source, target), rtol=1e-11, atol=1e-13)


def test_scheduled_sampling_with_probability_1_reads_its_samples():
    model, (source, target) = always_predict_4(make_model(bahdanau)), tokens()
    logits = sampled_logits(model, source, target, 1.0)
    expected = call(model, source, target.at[1:].set(4))
    np.testing.assert_allclose(logits, expected, rtol=1e-11)
    assert np.any(np.abs(expected - call(model, source, target)) > 1e-6)


@pytest.mark.slow
def test_scheduled_sampling_samples_with_the_given_probability():
    model, (source, target) = always_predict_4(make_small_model()), tokens()
    count = 2000
    target = jnp.broadcast_to(target[:2, :1], (2, count))
    source = jnp.broadcast_to(source[:, :1], (TIME, count))
    lengths = np.full(count, TIME)
    logits = sampled_logits(model, source, target, 0.3, lengths)
    teacher_forced = call(model, source, target, lengths)
    is_sampled = np.abs(logits[1] - teacher_forced[1]).max(-1) > 1e-9
    assert abs(is_sampled.mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / count)
    np.testing.assert_allclose(logits[0], teacher_forced[0])


@pytest.mark.slow
def test_scheduled_sampling_passes_no_gradient_through_samples():
    model, (source, target) = always_predict_4(make_small_model()), tokens()

    def loss(model):
        return jnp.sin(sampled_logits(model, source, target, 1.0)).sum()

    def expected_loss(model):
        return jnp.sin(model(source, target.at[1:].set(4), lengths=LENGTHS)).sum()

    gradient, expected = (jax.jit(jax.grad(f))(model) for f in (loss, expected_loss))
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.slow
def test_alignment_sums_to_one_over_the_valid_steps():
    model, (source, target) = make_model(luong), tokens()
    weights = model.alignment(source, target, lengths=LENGTHS)
    assert weights.shape == (STEPS, BATCH, TIME)
    np.testing.assert_allclose(weights[:, :2].sum(2), 1)
    assert not weights[:, 1, LENGTHS[1] :].any()


@pytest.mark.parametrize(
    ("refused_call", "message"),
    [
        (lambda: make_small_model(dropout=1.0), "EncoderDecoder got rate=1.0"),
        (
            lambda: make_model(lambda keys: plain),
            "EncoderDecoder got a Bidirectional and a function",
        ),
        (lambda: make_model(plain).alignment(*tokens()), "the attention weights of a decoder"),
        (lambda: make_model(luong).start_decoding(tokens()[0]), "start_decoding got a source"),
        (lambda: make_model(luong)(*tokens(), lengths=jnp.array([7, 8, 1])), "lengths lie"),
        (
            lambda: scheduled_sampling(make_model(luong), *tokens(), 1.5, key=jax.random.key(0)),
            "scheduled_sampling got probability=1.5",
        ),
    ],
)
def test_encoder_decoder_refuses_wrong_arguments_in_three_parts(refused_call, message):
    assert_refused(message, refused_call)
