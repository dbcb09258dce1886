"""Decoders choose what their definitions say, and an ended sequence never changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.helpers.guessing import BEGIN, END, LIMITS, LONGEST, TOKENS, guess, model, states, step
from jax.tree_util import Partial

from seqmem.decoding import beam_search, greedy, sample

pytestmark = pytest.mark.usefixtures("float64")


def one_after_another(state):
    """Greedy, as a Python loop."""
    token, found, total = BEGIN, [], 0.0
    while len(found) < LONGEST and token != END:
        state, logits = guess(model(), state, jnp.asarray(token))
        token = int(logits.argmax())
        total += float(jax.nn.log_softmax(logits)[token])
        found.append(token)
    return found, total, state


def test_greedy_takes_the_likeliest_token_of_each_step():
    lengths = set()
    for state in states(11):
        tokens, total, after = one_after_another(state)
        found = greedy(step(), state, **LIMITS)
        assert found.tokens.tolist() == tokens + [END] * (LONGEST - len(tokens))
        assert int(found.length) == len(tokens)
        np.testing.assert_allclose(found.log_probability, total, rtol=1e-12)
        np.testing.assert_allclose(found.state, after, rtol=1e-12)
        lengths.add(len(tokens))
    assert len(lengths) > 1


def test_a_batch_is_its_sequences_and_an_ended_one_never_changes():
    some = states(13)
    together = jax.vmap(lambda state: greedy(step(), state, **LIMITS))(some)
    assert len(set(together.length.tolist())) > 1
    for i, state in enumerate(some):
        alone = greedy(step(), state, **LIMITS)
        assert together.tokens[i].tolist() == alone.tokens.tolist()
        np.testing.assert_allclose(together.state[i], alone.state, rtol=1e-12)
        np.testing.assert_allclose(together.log_probability[i], alone.log_probability, rtol=1e-12)
        longer = greedy(step(), state, **{**LIMITS, "max_length": 3 * LONGEST})
        if alone.length < LONGEST:
            assert longer.tokens.tolist() == alone.tokens.tolist() + [END] * 2 * LONGEST
            np.testing.assert_array_equal(longer.state, alone.state)


def test_decoding_goes_on_from_its_state():
    limits = {**LIMITS, "end": TOKENS}  # a token that never comes
    state = states(1)[0]
    whole = greedy(step(), state, **{**limits, "max_length": 11})
    first = greedy(step(), state, **limits)
    rest = greedy(
        step(), first.state, **{**limits, "begin": first.tokens[-1], "max_length": 11 - LONGEST}
    )
    assert [*first.tokens.tolist(), *rest.tokens.tolist()] == whole.tokens.tolist()
    np.testing.assert_allclose(rest.state, whole.state, rtol=1e-12)
    np.testing.assert_allclose(
        first.log_probability + rest.log_probability, whole.log_probability, rtol=1e-12
    )


def every_decoder(own, state=(), **limits):
    limits = {**LIMITS, **limits}
    beam = beam_search(own, state, width=3, **limits)
    yield greedy(own, state, **limits)
    yield sample(own, state, jax.random.key(0), **limits)
    yield sample(own, state, jax.random.key(0), top_p=0.9, **limits)
    yield jax.tree.map(lambda leaf: leaf[0], beam)


def test_a_forbidden_token_never_comes():
    def own(state, token):
        return state, jnp.full(TOKENS, -jnp.inf).at[4].set(-3.0)

    for found in every_decoder(own):
        assert found.tokens.tolist() == [4] * LONGEST
        assert float(found.log_probability) == 0


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_logits_that_are_no_distribution_end_a_sequence_and_show(bad):
    def own(count, token):
        fine = jax.nn.one_hot(4, TOKENS) * 50 - 100
        broken = jnp.full(TOKENS, bad if bad < 0 else 0.0).at[1].set(bad)
        return count + 1, jnp.where(count < 2, fine, broken)

    for found in every_decoder(own, 0):
        assert found.tokens.tolist() == [4, 4, END, END]
        assert int(found.length) == 3
        assert int(found.state) == 3
        assert jnp.isnan(found.log_probability)


def test_arrays_in_a_step_are_arguments_of_one_program():
    traced = []

    def counting(table, state, token):
        traced.append(token)
        return state, table[token]

    state = jnp.zeros(())
    for seed in range(3):
        table = jax.random.normal(jax.random.key(seed), (TOKENS, TOKENS))
        greedy(Partial(counting, table), state, **LIMITS)
        if seed == 0:
            first = len(traced)
    assert len(traced) - first == 2  # a look at its shapes each, and no new program


REFUSED = [
    (greedy, {"max_length": 0}, "max_length=0"),
    (beam_search, {"max_length": 0, "width": 3}, "max_length=0"),
    (beam_search, {"width": 0}, "width=0"),
    (beam_search, {"width": 3, "alpha": -1.0}, "alpha=-1.0"),
    (greedy, {"begin": jnp.array([1, 2])}, r"begin is int32 of shape \(2,\)"),
]


@pytest.mark.parametrize(("decode", "options", "came"), REFUSED)
def test_what_makes_no_sense_is_refused_in_three_parts(decode, options, came):
    with pytest.raises(ValueError, match=rf"(?s)^{came}.*Expected: .*What to do: "):
        decode(step(), states(1)[0], **{**LIMITS, **options})


@pytest.mark.parametrize(
    ("own", "came"),
    [
        (lambda state, token: jnp.zeros(3), "the step returned a "),
        (lambda state, token: (state[:-1], jnp.zeros(3)), "the step turned a state of "),
        (lambda state, token: (state.astype(int), jnp.zeros(3)), "the step turned a state of "),
        (lambda state, token: (state, jnp.zeros((2, 3))), "the step returned logits "),
        (lambda state, token: (state, jnp.zeros(3, int)), "the step returned logits "),
    ],
)
def test_a_step_that_does_not_fit_is_refused_in_three_parts(own, came):
    with pytest.raises(ValueError, match=rf"(?s)^{came}.*Expected: .*What to do: "):
        greedy(own, states(1)[0], **LIMITS)
