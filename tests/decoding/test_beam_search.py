"""A beam keeps what it should: from the greedy choice to the best there is."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.helpers.guessing import (
    BEGIN,
    END,
    LIMITS,
    LONGEST,
    TOKENS,
    guess,
    log_probability,
    model,
    states,
    step,
)

from seqmem.decoding import beam_search, greedy

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("alpha", [0.0, 1.3])
def test_a_beam_of_one_is_greedy(alpha):
    some = states(13)
    expected = jax.vmap(lambda state: greedy(step(), state, **LIMITS))(some)
    found = jax.vmap(lambda state: beam_search(step(), state, width=1, alpha=alpha, **LIMITS))(some)
    for name in ("tokens", "length"):
        np.testing.assert_array_equal(getattr(found, name)[:, 0], getattr(expected, name))
    np.testing.assert_allclose(found.state[:, 0], expected.state, rtol=1e-12)
    np.testing.assert_allclose(found.log_probability[:, 0], expected.log_probability, rtol=1e-12)


def all_sequences():
    """Each that ends, or is as long as it may be, padded with the end; and their lengths."""
    others = [token for token in range(TOKENS) if token != END]
    for length in range(1, LONGEST + 1):
        last = range(TOKENS) if length == LONGEST else [END]
        for body in itertools.product(others, repeat=length - 1):
            for token in last:
                yield [*body, token] + [END] * (LONGEST - length), length


@pytest.mark.parametrize("alpha", [0.0, 2.3])
def test_a_beam_of_all_sequences_finds_the_best_there_is(alpha):
    tokens, lengths = map(np.array, zip(*all_sequences(), strict=True))
    state = states(1, seed=5)[0]
    each = jax.vmap(lambda tokens: log_probability(state, tokens)[0])(jnp.asarray(tokens))
    totals = np.where(np.arange(LONGEST) < lengths[:, None], each, 0).sum(1)
    scores = totals / ((5 + lengths) / 6) ** alpha
    order = np.argsort(-scores)

    found = beam_search(step(), state, width=TOKENS**LONGEST, alpha=alpha, **LIMITS)
    count = len(tokens)
    assert found.tokens[:count].tolist() == tokens[order].tolist()
    np.testing.assert_array_equal(found.length[:count], lengths[order])
    np.testing.assert_allclose(found.score[:count], scores[order], rtol=1e-12)
    np.testing.assert_allclose(found.log_probability[:count], totals[order], rtol=1e-12)
    np.testing.assert_allclose(jnp.exp(totals).sum(), 1, rtol=1e-12)  # all there are
    assert not found.length[count:].any()
    assert (found.log_probability[count:] == -jnp.inf).all()
    assert (found.tokens[count:] == END).all()


def test_normalisation_by_length_prefers_longer_sequences():
    def lengths(alpha):
        search = functools.partial(beam_search, step(), width=11, alpha=alpha, **LIMITS)
        return jax.vmap(search)(states(13)).length[:, 0]

    short, long = lengths(0.0), lengths(7.0)
    assert (short <= long).all()
    assert (short < long).any()


def kept_by_hand(state, width):
    """Beam search with Python's lists."""
    beam = [(0.0, [], state)]
    for _ in range(LONGEST):
        ended = [one for one in beam if one[1][-1:] == [END]]
        going_on = []
        for total, tokens, own in beam:
            if tokens[-1:] != [END]:
                after, logits = guess(model(), own, jnp.asarray((tokens or [BEGIN])[-1]))
                gains = np.asarray(jax.nn.log_softmax(logits))
                going_on += [(total + gains[i], [*tokens, i], after) for i in range(TOKENS)]
        going_on.sort(key=lambda one: -one[0])
        beam = ended + going_on[: width - len(ended)]
    return sorted(beam, key=lambda one: -one[0])


def test_a_narrow_beam_keeps_what_it_should():
    for state in states(5, seed=3):
        expected = kept_by_hand(state, 3)
        found = beam_search(step(), state, width=3, **LIMITS)
        for i, (total, tokens, after) in enumerate(expected):
            assert found.tokens[i].tolist() == tokens + [END] * (LONGEST - len(tokens))
            assert int(found.length[i]) == len(tokens)
            np.testing.assert_allclose(found.log_probability[i], total, rtol=1e-12)
            np.testing.assert_allclose(found.state[i], after, rtol=1e-12)


def test_in_a_beam_what_is_no_distribution_comes_last():
    def own(state, token):
        fine = jnp.log(jnp.array([0.6, 0.4, 0.0, 0.0, 0.0]))
        return state, jnp.where(token == 0, jnp.nan, fine)

    found = beam_search(own, (), width=LONGEST + 1, **LIMITS)
    assert found.tokens[:2].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    np.testing.assert_allclose(jnp.exp(found.score[:2]), [0.4**3 * 0.6, 0.4**4])
    assert jnp.isnan(found.score[2:]).all()
    broken = {tuple(tokens) for tokens in found.tokens[2:].tolist()}
    assert broken == {(0, END, END, END), (1, 0, END, END), (1, 1, 0, END)}
