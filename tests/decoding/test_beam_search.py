"""Beam search keeps the right sequences, from greedy decoding (width 1) to a search of all."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmem.decoding import beam_search, greedy
from tests.helpers.token_model import (
    BEGIN,
    END,
    LIMITS,
    MAX_LENGTH,
    TOKENS,
    apply_model,
    log_probabilities,
    make_model,
    states,
    step,
)

pytestmark = pytest.mark.usefixtures("float64")


@functools.partial(jax.jit, static_argnames="width")
def search(states, *, width, alpha=0.0):
    return jax.vmap(lambda state: beam_search(step(), state, width=width, alpha=alpha, **LIMITS))(
        states
    )


@pytest.mark.parametrize("alpha", [0.0, 1.3])
def test_beam_of_width_1_is_greedy(alpha):
    expected = jax.vmap(lambda state: greedy(step(), state, **LIMITS))(states(13))
    beam = search(states(13), width=1, alpha=alpha)
    for name in ("tokens", "length"):
        np.testing.assert_array_equal(getattr(beam, name)[:, 0], getattr(expected, name))
    np.testing.assert_allclose(beam.state[:, 0], expected.state, rtol=1e-12)
    np.testing.assert_allclose(beam.log_probability[:, 0], expected.log_probability, rtol=1e-12)


def all_sequences():
    """Each sequence that ends or has MAX_LENGTH tokens, filled with the end token; its length."""
    others = [token for token in range(TOKENS) if token != END]
    for length in range(1, MAX_LENGTH + 1):
        last = range(TOKENS) if length == MAX_LENGTH else [END]
        for body in itertools.product(others, repeat=length - 1):
            for token in last:
                yield [*body, token] + [END] * (MAX_LENGTH - length), length


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.0, 2.3])
def test_beam_of_all_sequences_finds_the_best_of_all(alpha):
    tokens, lengths = map(np.array, zip(*all_sequences(), strict=True))
    (state,) = states(1, seed=5)
    values = jax.vmap(lambda tokens: log_probabilities(state, tokens)[0])(jnp.asarray(tokens))
    totals = np.where(np.arange(MAX_LENGTH) < lengths[:, None], values, 0).sum(1)
    scores = totals / ((5 + lengths) / 6) ** alpha
    order = np.argsort(-scores)

    beam = beam_search(step(), state, width=TOKENS**MAX_LENGTH, alpha=alpha, **LIMITS)
    count = len(tokens)
    assert beam.tokens[:count].tolist() == tokens[order].tolist()
    np.testing.assert_array_equal(beam.length[:count], lengths[order])
    np.testing.assert_allclose(beam.score[:count], scores[order], rtol=1e-12)
    np.testing.assert_allclose(beam.log_probability[:count], totals[order], rtol=1e-12)
    np.testing.assert_allclose(np.exp(totals).sum(), 1, rtol=1e-12)
    assert not beam.length[count:].any()
    assert (beam.log_probability[count:] == -jnp.inf).all()
    assert (beam.tokens[count:] == END).all()


def test_length_penalty_prefers_longer_sequences():
    short = search(states(13), width=11, alpha=0.0).length[:, 0]
    long = search(states(13), width=11, alpha=7.0).length[:, 0]
    assert (short <= long).all()
    assert (short < long).any()


def reference_beam(state, width):
    """Beam search with Python lists: (ln P, tokens, state), best first."""
    beam = [(0.0, [], state)]
    for _ in range(MAX_LENGTH):
        finished = [entry for entry in beam if entry[1][-1:] == [END]]
        extensions = []
        for total, tokens, state in beam:
            if tokens[-1:] != [END]:
                token = jnp.asarray((tokens or [BEGIN])[-1])
                new_state, logits = apply_model(make_model(), state, token)
                gains = np.asarray(jax.nn.log_softmax(logits))
                extensions += [(total + gains[i], [*tokens, i], new_state) for i in range(TOKENS)]
        extensions.sort(key=lambda entry: -entry[0])
        beam = finished + extensions[: width - len(finished)]
    return sorted(beam, key=lambda entry: -entry[0])


def test_narrow_beam_matches_python_lists():
    beams = search(states(5, seed=3), width=3)
    for index, state in enumerate(states(5, seed=3)):
        for i, (total, tokens, final_state) in enumerate(reference_beam(state, 3)):
            assert beams.tokens[index, i].tolist() == tokens + [END] * (MAX_LENGTH - len(tokens))
            assert int(beams.length[index, i]) == len(tokens)
            np.testing.assert_allclose(beams.log_probability[index, i], total, rtol=1e-12)
            np.testing.assert_allclose(beams.state[index, i], final_state, rtol=1e-12)


def test_finished_sequence_keeps_its_place_though_others_are_more_likely():
    first = np.log([0.5, 0.4, 0.1, 1e-9, 1e-9])  # END is 2
    later = np.log([0.5, 0.5, 1e-9, 1e-9, 1e-9])

    def table_step(state, token):
        return state, jnp.where(token == BEGIN, jnp.asarray(first), jnp.asarray(later))

    beam = beam_search(table_step, (), width=3, **{**LIMITS, "max_length": 2})
    assert beam.tokens[2].tolist() == [END, END]
    np.testing.assert_allclose(np.exp(beam.log_probability), [0.25, 0.25, 0.1], rtol=1e-6)


def test_sequence_whose_logits_are_no_distribution_comes_last():
    def broken_step(state, token):
        valid = jnp.log(jnp.array([0.6, 0.4, 0.0, 0.0, 0.0]))
        return state, jnp.where(token == 0, jnp.nan, valid)

    beam = beam_search(broken_step, (), width=MAX_LENGTH + 1, **LIMITS)
    assert beam.tokens[:2].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    np.testing.assert_allclose(np.exp(beam.score[:2]), [0.4**3 * 0.6, 0.4**4])
    assert np.isnan(beam.score[2:]).all()
    broken = {tuple(tokens) for tokens in beam.tokens[2:].tolist()}
    assert broken == {(0, END, END, END), (1, 0, END, END), (1, 1, 0, END)}
