"""Decoders choose what their definitions say, and an ended sequence never changes."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import seqmem
from seqmem.decoding import beam_search, greedy, sample

BEGIN, END, TOKENS, LONGEST = 3, 2, 5, 4
LIMITS = {"begin": BEGIN, "end": END, "max_length": LONGEST}
pytestmark = pytest.mark.usefixtures("float64")


@jax.jit
def guess(model, state, token):
    """A GRU that reads tokens, and logits of what it shows; the end is likely."""
    cell, V = model
    state, y = cell(state, jax.nn.one_hot(token, TOKENS, dtype=V.dtype))
    return state, V @ y + jax.nn.one_hot(END, TOKENS, dtype=V.dtype)


@functools.lru_cache(maxsize=1)
def model():
    keys = jax.random.split(jax.random.key(7))
    return seqmem.GRU(TOKENS, 7, key=keys[0]), 3 * jax.random.normal(keys[1], (TOKENS, 7))


def step():
    return Partial(guess, model())


def states(count, seed=0):
    return jax.random.normal(jax.random.key(seed), (count, 7))


@jax.jit
def log_probability(state, tokens):
    """ln P of each token of a sequence, and the state after the last step."""
    inputs = jnp.concatenate([jnp.array([BEGIN], tokens.dtype), tokens[:-1]])
    state, logits = jax.lax.scan(step(), state, inputs)
    return jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[:, None], 1)[:, 0], state


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
DRAWN = [
    ({"temperature": 0.0}, "temperature=0.0"),
    ({"temperature": -1}, "temperature=-1"),
    ({"temperature": jnp.nan}, "temperature=nan"),
    ({"top_p": 0}, "top_p=0"),
    ({"top_p": 1.1}, "top_p=1.1"),
    ({"top_k": 0}, "top_k=0"),
    ({"max_length": 0}, "max_length=0"),
]


@pytest.mark.parametrize(("decode", "options", "came"), REFUSED)
def test_what_makes_no_sense_is_refused_in_three_parts(decode, options, came):
    with pytest.raises(ValueError, match=rf"(?s)^{came}.*Expected: .*What to do: "):
        decode(step(), states(1)[0], **{**LIMITS, **options})


@pytest.mark.parametrize(("options", "came"), DRAWN)
def test_what_cannot_be_drawn_from_is_refused_in_three_parts(options, came):
    with pytest.raises(ValueError, match=rf"(?s)^{came}.*Expected: .*What to do: "):
        sample(step(), states(1)[0], jax.random.key(0), **{**LIMITS, **options})


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
