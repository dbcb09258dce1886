"""Tokens come as often as they should."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.helpers.guessing import (
    BEGIN,
    LIMITS,
    TOKENS,
    guess,
    log_probability,
    model,
    states,
    step,
)

from seqmem.decoding import greedy, sample

pytestmark = pytest.mark.usefixtures("float64")


DRAWS = 40_000


@functools.partial(jax.jit, static_argnames="top_k")
def drawn(state, keys, **options):
    one = {**LIMITS, "max_length": 1, **options}
    return jax.vmap(lambda key: sample(step(), state, key, **one).tokens[0])(keys)


def first_logits():
    return np.array(guess(model(), states(1)[0], jnp.asarray(BEGIN))[1])


def softmax(logits):
    return np.array(jax.nn.softmax(jnp.asarray(logits)))


def frequencies(**options):
    """Of each token as the first."""
    tokens = drawn(states(1)[0], jax.random.split(jax.random.key(1), DRAWS), **options)
    return np.bincount(tokens, minlength=TOKENS) / DRAWS


def assert_drawn(counts, chances):
    """Within five deviations of a binomial."""
    deviations = np.sqrt(chances * (1 - chances) / DRAWS)
    assert (np.abs(counts - chances) <= 5 * deviations).all()
    assert deviations.max() < 0.003


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_tokens_are_drawn_as_often_as_the_softmax_says(temperature):
    assert_drawn(frequencies(temperature=temperature), softmax(first_logits() / temperature))


@pytest.mark.parametrize("k", [2, 3, 2 * TOKENS])
def test_top_k_draws_from_the_k_likeliest(k):
    chances = softmax(first_logits())
    chances[np.argsort(-chances)[k:]] = 0
    assert_drawn(frequencies(top_k=k), chances / chances.sum())


@pytest.mark.parametrize("above", [-1e-9, 1e-9])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_top_p_draws_from_the_smallest_set_that_holds_p(size, above):
    chances = softmax(first_logits())
    order = np.argsort(-chances)
    counts = frequencies(top_p=chances[order[:size]].sum() + above)
    kept = size + (above > 0)
    chances[order[kept:]] = 0
    assert_drawn(counts, chances / chances.sum())
    assert np.count_nonzero(counts) == kept


def test_top_p_counts_what_temperature_and_top_k_have_left():
    scores = first_logits() / 2.0
    order = np.argsort(-scores)
    chances = softmax(scores[order[:3]])
    counts = frequencies(temperature=2.0, top_k=3, top_p=chances[:2].sum() - 1e-9)
    expected = np.zeros(TOKENS)
    expected[order[:2]] = chances[:2] / chances[:2].sum()
    assert_drawn(counts, expected)


@pytest.mark.parametrize("options", [{"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-6}])
def test_drawing_from_one_token_is_greedy(options):
    keys = jax.random.split(jax.random.key(2), 13)
    expected = jax.vmap(lambda state: greedy(step(), state, **LIMITS))(states(13))
    found = jax.vmap(lambda state, key: sample(step(), state, key, **LIMITS, **options))(
        states(13), keys
    )
    assert found.tokens.tolist() == expected.tokens.tolist()
    np.testing.assert_allclose(found.log_probability, expected.log_probability, rtol=1e-12)


def test_each_token_of_a_sample_is_drawn_by_itself():
    state, keys = states(1)[0], jax.random.split(jax.random.key(4), 2000)
    limits = {**LIMITS, "end": TOKENS, "max_length": 2}
    found = jax.vmap(lambda key: sample(step(), state, key, temperature=1e9, **limits))(keys)
    pairs = np.bincount(np.array(found.tokens) @ [TOKENS, 1], minlength=TOKENS**2) / 2000
    assert abs(pairs * TOKENS**2 - 1).max() < 5 * TOKENS / np.sqrt(2000)
    each = jax.vmap(lambda tokens: log_probability(state, tokens)[0].sum())(found.tokens)
    np.testing.assert_allclose(found.log_probability, each, rtol=1e-12)


DRAWN = [
    ({"temperature": 0.0}, "temperature=0.0"),
    ({"temperature": -1}, "temperature=-1"),
    ({"temperature": jnp.nan}, "temperature=nan"),
    ({"top_p": 0}, "top_p=0"),
    ({"top_p": 1.1}, "top_p=1.1"),
    ({"top_k": 0}, "top_k=0"),
    ({"max_length": 0}, "max_length=0"),
]


@pytest.mark.parametrize(("options", "came"), DRAWN)
def test_what_cannot_be_drawn_from_is_refused_in_three_parts(options, came):
    with pytest.raises(ValueError, match=rf"(?s)^{came}.*Expected: .*What to do: "):
        sample(step(), states(1)[0], jax.random.key(0), **{**LIMITS, **options})
