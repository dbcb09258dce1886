"""Every decoder: the end of a sequence, prompts, batches, broken logits and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from seqmem.decoding import RepetitionPenalty, beam_search, greedy, sample
from tests.helpers.refusals import assert_refused
from tests.helpers.token_model import (
    BEGIN,
    END,
    LIMITS,
    MAX_LENGTH,
    TOKENS,
    apply_model,
    make_model,
    states,
    step,
)

pytestmark = pytest.mark.usefixtures("float64")


def reference_greedy(state):
    """Greedy decoding as a Python loop."""
    token, tokens, total = BEGIN, [], 0.0
    while len(tokens) < MAX_LENGTH and token != END:
        state, logits = apply_model(make_model(), state, jnp.asarray(token))
        token = int(logits.argmax())
        total += float(jax.nn.log_softmax(logits)[token])
        tokens.append(token)
    return tokens, total, state


def test_greedy_takes_the_most_likely_token_of_each_step():
    lengths = set()
    for state in states(11):
        tokens, total, final_state = reference_greedy(state)
        decoded = greedy(step(), state, **LIMITS)
        assert decoded.tokens.tolist() == tokens + [END] * (MAX_LENGTH - len(tokens))
        assert int(decoded.length) == len(tokens)
        np.testing.assert_allclose(decoded.log_probability, total, rtol=1e-12)
        np.testing.assert_allclose(decoded.state, final_state, rtol=1e-12)
        lengths.add(len(tokens))
    assert len(lengths) > 1


def test_finished_sequence_of_a_batch_never_changes():
    batch = jax.vmap(lambda state: greedy(step(), state, **LIMITS))(states(13))
    assert len(set(batch.length.tolist())) > 1
    for i, state in enumerate(states(13)):
        single = greedy(step(), state, **LIMITS)
        assert batch.tokens[i].tolist() == single.tokens.tolist()
        np.testing.assert_allclose(batch.state[i], single.state, rtol=1e-12)
        np.testing.assert_allclose(batch.log_probability[i], single.log_probability, rtol=1e-12)
        longer = greedy(step(), state, **{**LIMITS, "max_length": 3 * MAX_LENGTH})
        if single.length < MAX_LENGTH:
            assert longer.tokens.tolist() == single.tokens.tolist() + [END] * 2 * MAX_LENGTH
            np.testing.assert_array_equal(longer.state, single.state)


def test_decoding_continues_from_its_state():
    (state,) = states(1)
    full_sequence = greedy(step(), state, begin=BEGIN, max_length=11)
    first = greedy(step(), state, begin=BEGIN, max_length=MAX_LENGTH)
    rest = greedy(step(), first.state, begin=first.tokens[-1], max_length=11 - MAX_LENGTH)
    assert [*first.tokens.tolist(), *rest.tokens.tolist()] == full_sequence.tokens.tolist()
    np.testing.assert_allclose(rest.state, full_sequence.state, rtol=1e-12)
    np.testing.assert_allclose(
        first.log_probability + rest.log_probability, full_sequence.log_probability, rtol=1e-12
    )


def each_decoder(step, state=(), **limits):
    """Every decoder's result; of a beam, the best."""
    limits = {**LIMITS, **limits}
    yield greedy(step, state, **limits)
    yield sample(step, state, **limits, key=jax.random.key(0))
    yield sample(step, state, top_p=0.9, **limits, key=jax.random.key(0))
    yield jax.tree.map(lambda leaf: leaf[0], beam_search(step, state, width=3, **limits))


def follow_table(table, count, token):
    """A step whose logits at step n are row n of a table."""
    return count + 1, table[count]


def each_decoder_of_table(rows, **limits):
    return each_decoder(Partial(follow_table, jnp.asarray(rows, float)), 0, **limits)


def only(token, log_probability):
    return np.where(np.arange(TOKENS) == token, log_probability, -np.inf)


def test_without_end_token_every_decoder_runs_to_max_length():
    for decoded in each_decoder_of_table([only(END, 0.0)] * MAX_LENGTH, end=None):
        assert decoded.tokens.tolist() == [END] * MAX_LENGTH
        assert int(decoded.length) == int(decoded.state) == MAX_LENGTH
        assert float(decoded.log_probability) == 0


@pytest.mark.parametrize("prompt", [[4, 0, 1, BEGIN], np.array([4, 0, 1, BEGIN])])
def test_prompt_is_read_before_decoding(prompt):
    (state,) = states(1)
    for token in (4, 0, 1):
        state, _ = apply_model(make_model(), state, jnp.asarray(token))
    prompted = each_decoder(step(), states(1)[0], begin=prompt)
    for decoded, expected in zip(prompted, each_decoder(step(), state), strict=True):
        assert decoded.tokens.tolist() == expected.tokens.tolist()
        np.testing.assert_allclose(decoded.log_probability, expected.log_probability, rtol=1e-12)
        np.testing.assert_allclose(decoded.state, expected.state, rtol=1e-12)


def test_repr_of_decoded_names_shapes_and_no_entries():
    decoded = greedy(step(), states(1)[0], **{**LIMITS, "max_length": 4000})
    beam = beam_search(step(), states(1)[0], width=3, **LIMITS)
    assert repr(decoded) == (
        "Decoded(tokens=i32[4000], length=i32[], log_probability=f64[], state=f64[7])"
    )
    assert str(beam).startswith("Beam(")
    assert len(str(beam)) < 200


def test_forbidden_token_is_never_decoded():
    for decoded in each_decoder_of_table([only(4, -3.0)] * MAX_LENGTH):
        assert decoded.tokens.tolist() == [4] * MAX_LENGTH
        assert float(decoded.log_probability) == 0


@pytest.mark.parametrize("end", [END, None])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_distribution_end_the_sequence_with_nan(bad, end):
    valid = np.where(np.arange(TOKENS) == 4, -50, -100)
    broken = np.full(TOKENS, bad if bad < 0 else 0.0)
    broken[1] = bad
    fill = -1 if end is None else end
    for decoded in each_decoder_of_table([valid, valid, broken, broken], end=end):
        assert decoded.tokens.tolist() == [4, 4, fill, fill]
        assert int(decoded.length) == 3
        assert int(decoded.state) == 3
        assert np.isnan(decoded.log_probability)


@pytest.mark.slow
def test_sequence_ends_at_any_of_several_end_tokens():
    rows = [only(4, 0.0), only(1, 0.0), only(4, 0.0), only(3, 0.0)]
    for decoded in each_decoder_of_table(rows, end=[3, 1]):
        assert decoded.tokens.tolist() == [4, 1, 3, 3]  # filled with the first of them
        assert int(decoded.length) == int(decoded.state) == 2


def test_every_decoder_takes_a_step_with_a_penalty_for_seen_tokens():
    logits = jnp.array([3.0, 2.5, -1.0, -1.2, -4.0])
    table = Partial(follow_table, jnp.tile(logits, (MAX_LENGTH, 1)))
    penalised = RepetitionPenalty(table, 2.0)
    start = penalised.init_state(0, vocabulary_size=TOKENS, seen=[1, -1, TOKENS])
    values = [[3, 1.25, -1, -2.4, -4], [1.5, 1.25, -1, -2.4, -4]]  # 3 is the first input
    for decoded in (
        greedy(penalised, start, **{**LIMITS, "end": None}),
        sample(penalised, start, top_k=1, key=jax.random.key(0), **{**LIMITS, "end": None}),
    ):
        assert decoded.tokens.tolist() == [0, 0, 0, 0]
        losses = [jax.nn.log_softmax(jnp.array(row))[0] for row in values]
        np.testing.assert_allclose(decoded.log_probability, losses[0] + 3 * losses[1], rtol=1e-12)
        assert decoded.state[1].tolist() == [True, True, False, True, False]
    best = beam_search(penalised, start, width=1, **{**LIMITS, "end": None})
    np.testing.assert_allclose(best.log_probability[0], losses[0] + 3 * losses[1], rtol=1e-12)


def test_repetition_penalty_refuses_what_does_not_fit_in_three_parts():
    assert_refused("RepetitionPenalty got penalty=0.0", RepetitionPenalty, step(), 0.0)
    penalised = RepetitionPenalty(step(), 1.2)
    start = penalised.init_state(states(1)[0], vocabulary_size=TOKENS + 1)
    assert_refused("RepetitionPenalty got logits of shape (5,)", greedy, penalised, start, **LIMITS)


def test_arrays_in_a_step_are_arguments_of_one_program():
    traced = []

    def counting_step(table, state, token):
        traced.append(token)
        return state, table[token]

    state = jnp.zeros(())
    for seed in range(3):
        table = jnp.asarray(np.random.default_rng(seed).normal(size=(TOKENS, TOKENS)))
        greedy(Partial(counting_step, table), state, **LIMITS)
        if seed == 0:
            first = len(traced)
    assert len(traced) - first == 2  # each call checks the shapes, and compiles nothing


@pytest.mark.parametrize(
    ("decode", "options", "message"),
    [
        (greedy, {"max_length": 0}, "greedy got max_length=0"),
        (beam_search, {"max_length": 0, "width": 3}, "beam_search got max_length=0"),
        (beam_search, {"width": 0}, "beam_search got width=0"),
        (beam_search, {"width": 3, "alpha": -1.0}, "beam_search got alpha=-1.0"),
        (greedy, {"begin": jnp.ones((2, 3), int)}, "greedy got begin of shape (2, 3)"),
        (greedy, {"begin": np.zeros(0, int)}, "greedy got begin of shape (0,)"),
        (greedy, {"begin": 0.5}, "greedy got begin of dtype float64"),
        (greedy, {"end": jnp.array([[1, 2]])}, "greedy got begin of shape (1,) and end of"),
    ],
)
def test_decoder_refuses_wrong_options_in_three_parts(decode, options, message):
    assert_refused(message, decode, step(), states(1)[0], **{**LIMITS, **options})


@pytest.mark.parametrize(
    ("wrong_step", "message"),
    [
        (lambda state, token: jnp.zeros(3), "the step returned a "),
        (lambda state, token: (state[:-1], jnp.zeros(3)), "the step turned a state of "),
        (lambda state, token: (state.astype(int), jnp.zeros(3)), "the step turned a state of "),
        (lambda state, token: (state, jnp.zeros((2, 3))), "the step returned logits "),
        (lambda state, token: (state, jnp.zeros(3, int)), "the step returned logits "),
    ],
)
def test_decoder_refuses_a_wrong_step_in_three_parts(wrong_step, message):
    assert_refused(message, greedy, wrong_step, states(1)[0], **LIMITS)
