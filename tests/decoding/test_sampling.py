"""Sampled tokens have the right frequencies."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmem.decoding import greedy, sample
from tests.helpers.refusals import assert_refused
from tests.helpers.token_model import (
    BEGIN,
    LIMITS,
    TOKENS,
    apply_model,
    log_probabilities,
    make_model,
    states,
    step,
)

pytestmark = pytest.mark.usefixtures("float64")


DRAWS = 40_000


@functools.partial(jax.jit, static_argnames="top_k")
def draw_first_tokens(state, keys, **options):
    limits = {"begin": BEGIN, "max_length": 1, **options}
    return jax.vmap(lambda key: sample(step(), state, **limits, key=key).tokens[0])(keys)


def first_logits():
    return np.array(apply_model(make_model(), states(1)[0], jnp.asarray(BEGIN))[1])


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum()


def frequencies(**options):
    """The frequency of each token as the first."""
    tokens = draw_first_tokens(states(1)[0], jax.random.split(jax.random.key(1), DRAWS), **options)
    return np.bincount(tokens, minlength=TOKENS) / DRAWS


def assert_frequencies(frequencies, probabilities):
    """Within five standard deviations of a binomial."""
    deviations = np.sqrt(probabilities * (1 - probabilities) / DRAWS)
    assert (np.abs(frequencies - probabilities) <= 5 * deviations).all()
    assert deviations.max() < 0.003


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_token_frequencies_match_the_softmax(temperature):
    expected = softmax(first_logits() / temperature)
    assert_frequencies(frequencies(temperature=temperature), expected)


@pytest.mark.parametrize("k", [2, 3, 2 * TOKENS])
def test_top_k_draws_from_the_k_most_likely_tokens(k):
    probabilities = softmax(first_logits())
    probabilities[np.argsort(-probabilities)[k:]] = 0
    assert_frequencies(frequencies(top_k=k), probabilities / probabilities.sum())


@pytest.mark.parametrize("excess", [-1e-9, 1e-9])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_top_p_draws_from_the_smallest_set_with_that_probability(size, excess):
    probabilities = softmax(first_logits())
    order = np.argsort(-probabilities)
    result = frequencies(top_p=probabilities[order[:size]].sum() + excess)
    size += excess > 0
    probabilities[order[size:]] = 0
    assert_frequencies(result, probabilities / probabilities.sum())
    assert np.count_nonzero(result) == size


def test_top_p_applies_after_temperature_and_top_k():
    scores = first_logits() / 2.0
    order = np.argsort(-scores)
    probabilities = softmax(scores[order[:3]])
    result = frequencies(temperature=2.0, top_k=3, top_p=probabilities[:2].sum() - 1e-9)
    expected = np.zeros(TOKENS)
    expected[order[:2]] = probabilities[:2] / probabilities[:2].sum()
    assert_frequencies(result, expected)


@pytest.mark.parametrize("options", [{"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-6}])
def test_sampling_from_one_token_is_greedy(options):
    keys = jax.random.split(jax.random.key(2), 13)
    expected = jax.vmap(lambda state: greedy(step(), state, **LIMITS))(states(13))
    decoded = jax.vmap(lambda state, key: sample(step(), state, **LIMITS, **options, key=key))(
        states(13), keys
    )
    assert decoded.tokens.tolist() == expected.tokens.tolist()
    np.testing.assert_allclose(decoded.log_probability, expected.log_probability, rtol=1e-12)


def test_tokens_of_a_sample_are_independent_draws():
    state, keys = states(1)[0], jax.random.split(jax.random.key(4), 2000)
    limits = {"begin": BEGIN, "max_length": 2, "temperature": 1e9}
    decoded = jax.vmap(lambda key: sample(step(), state, **limits, key=key))(keys)
    pairs = np.bincount(np.array(decoded.tokens) @ [TOKENS, 1], minlength=TOKENS**2) / 2000
    assert abs(pairs * TOKENS**2 - 1).max() < 5 * TOKENS / np.sqrt(2000)
    expected = jax.vmap(lambda tokens: log_probabilities(state, tokens)[0].sum())(decoded.tokens)
    np.testing.assert_allclose(decoded.log_probability, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "sample got temperature=0.0"),
        ({"temperature": -1}, "sample got temperature=-1"),
        ({"temperature": jnp.nan}, "sample got temperature=nan"),
        ({"top_p": 0}, "sample got top_p=0"),
        ({"top_p": 1.1}, "sample got top_p=1.1"),
        ({"top_k": 0}, "sample got top_k=0"),
        ({"max_length": 0}, "sample got max_length=0"),
        ({"key": jax.random.split(jax.random.key(0))}, "sample got a key that is key"),
    ],
)
def test_sample_refuses_wrong_options_in_three_parts(options, message):
    options = {**LIMITS, "key": jax.random.key(0), **options}
    assert_refused(message, sample, step(), states(1)[0], **options)
