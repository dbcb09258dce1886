"""`prefill` and `generate`: one prompt or a batch, token for token what single steps give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import models
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow

TOKENS, SIZE, TIME, BATCH, MAX_LENGTH = 11, 6, 7, 3, 5
key = jax.random.key(0)

BODIES = {
    "GRU": lambda: seqmem.GRU(SIZE, 5, key=key),
    "LSTM, deep": lambda: seqmem.layers.deep(seqmem.LSTM, SIZE, 5, num_layers=2, key=key),
    "S6": lambda: seqmem.S6(SIZE, 3, key=key),
    "mamba2": lambda: seqmem.blocks.mamba2_block(
        SIZE, 6, num_heads=3, key_size=5, width=2, key=key
    ),
    "gated delta net": lambda: seqmem.blocks.gated_delta_net_block(
        SIZE, 6, num_heads=3, key_size=5, width=2, key=key
    ),
    "rwkv7": lambda: seqmem.layers.Stack(
        [
            seqmem.blocks.rwkv7_block(SIZE, num_heads=3, rank=5, key=key),
            seqmem.layers.Map(lambda outputs: outputs[0]),
        ]
    ),
    "mlstm": lambda: seqmem.blocks.xlstm_block(SIZE, 6, num_heads=3, key_size=5, key=key),
    "window": lambda: seqmem.SlidingWindowAttention(SIZE, num_heads=3, window=4, key=key),
}


def make_model(body="GRU", **options):
    return models.LanguageModel(BODIES[body](), TOKENS, **options, key=jax.random.key(1))


def prompts():
    return np.random.default_rng(0).integers(0, TOKENS, (TIME, BATCH))


def step_by_step(model, prompt, *, seen=None, penalty=1.0, max_length=MAX_LENGTH):
    """Greedy decoding in a Python loop: one step for each token of the prompt, and each new one."""
    step = jax.jit(lambda state, token: model(state, token))
    state, tokens, total = model.init_state(), [], 0.0
    for token in prompt:
        state, logits = step(state, jnp.asarray(token))
    while len(tokens) < max_length:
        values = np.array(logits, np.float64)
        for i in {*prompt.tolist(), *tokens} if penalty != 1 else ():
            values[i] = values[i] * penalty if values[i] < 0 else values[i] / penalty
        tokens.append(int(values.argmax()))
        total += values.max() - np.log(np.exp(values).sum())
        if len(tokens) < max_length:
            state, logits = step(state, jnp.asarray(tokens[-1]))
    return tokens, total, state


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("body", ["GRU", *(slow(name) for name in BODIES if name != "GRU")])
def test_generation_after_a_prompt_at_once_is_that_of_single_steps(body):
    model, prompt = make_model(body), prompts()
    text = models.generate(model, prompt, max_length=MAX_LENGTH)
    assert text.tokens.shape == (MAX_LENGTH, BATCH)
    for i in range(BATCH):
        tokens, total, state = step_by_step(model, prompt[:, i])
        assert text.tokens[:, i].tolist() == tokens
        np.testing.assert_allclose(text.log_probability[i], total, rtol=1e-10)
        one_state = jax.tree.map(lambda leaf, i=i: leaf[i], text.state)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), one_state, state
        )


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_prefill_gives_the_state_and_the_last_logits_of_an_unroll():
    model, prompt = make_model(logit_cap=2.0, bias=True), prompts()
    lengths = np.array([7, 4, 1])
    state, logits = models.prefill(model, None, prompt, lengths=lengths)
    final, all_logits = seqmem.unroll(model, None, prompt, lengths=lengths)
    jax.tree.map(np.testing.assert_array_equal, state, final)
    expected = all_logits[lengths - 1, np.arange(BATCH)]
    np.testing.assert_allclose(logits, expected, rtol=1e-13, atol=1e-13)
    _, logits = models.prefill(model, state, prompt[:1])
    final, all_logits = seqmem.unroll(model, state, prompt[:1])
    np.testing.assert_allclose(logits, all_logits[-1], rtol=1e-13, atol=1e-13)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "options",
    [
        {"repetition_penalty": 1.3},
        {"repetition_penalty": 1.3, "temperature": 1.5, "top_k": 7, "top_p": 0.9},
    ],
)
def test_padded_prompt_of_a_batch_gives_what_it_gives_alone(options):
    model, prompt, lengths = make_model(), prompts(), [7, 4, 1]
    keys = jax.random.split(jax.random.key(3), BATCH) if "top_k" in options else None
    limits = {"max_length": 6, "end": [2, 5], **options}
    padded = prompt.copy()  # with tokens as padding, and with ids outside of the vocabulary
    padded[-2:, 1] = -1
    batch = models.generate(model, padded, lengths=lengths, key=keys, **limits)
    for i, length in enumerate(lengths):
        one_key = None if keys is None else keys[i]
        alone = models.generate(model, prompt[:length, i], key=one_key, **limits)
        assert batch.tokens[:, i].tolist() == alone.tokens.tolist()
        assert int(batch.length[i]) == int(alone.length)
        np.testing.assert_allclose(batch.log_probability[i], alone.log_probability, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_repetition_penalty_counts_the_tokens_of_the_prompt_and_of_the_result():
    model, prompt = make_model(), prompts()
    plain = models.generate(model, prompt, max_length=MAX_LENGTH).tokens
    text = models.generate(model, prompt, max_length=MAX_LENGTH, repetition_penalty=3.0)
    for i in range(BATCH):
        tokens, total, _ = step_by_step(model, prompt[:, i], penalty=3.0)
        assert text.tokens[:, i].tolist() == tokens
        np.testing.assert_allclose(text.log_probability[i], total, rtol=1e-10)
    assert (text.tokens != plain).any()


@pytest.mark.slow
def test_generation_continues_from_its_last_token_and_state():
    model, prompt = make_model(), prompts()
    whole = models.generate(model, prompt, max_length=8)
    first = models.generate(model, prompt, max_length=5)
    rest = models.generate(model, first.tokens[-1:], state=first.state, max_length=3)
    np.testing.assert_array_equal(jnp.concatenate([first.tokens, rest.tokens]), whole.tokens)


def test_sequence_ends_at_the_first_of_several_end_tokens():
    model, prompt = make_model(), prompts()[:, 0]
    free = models.generate(model, prompt, max_length=9, key=key).tokens.tolist()
    end = [free[5], free[2], TOKENS - 1]
    text = models.generate(model, prompt, max_length=9, key=key, end=end)
    length = next(n for n, token in enumerate(free) if token in end) + 1
    assert int(text.length) == length < 9
    assert text.tokens.tolist() == free[:length] + [end[0]] * (9 - length)


@pytest.mark.slow
def test_temperature_0_and_no_key_are_the_most_likely_tokens():
    model, prompt = make_model(), prompts()
    expected = models.generate(model, prompt, max_length=4)
    cold = models.generate(model, prompt, max_length=4, temperature=0, key=key)
    np.testing.assert_array_equal(cold.tokens, expected.tokens)
    one = models.generate(model, prompt, max_length=4, top_k=1, key=key)
    np.testing.assert_array_equal(one.tokens, expected.tokens)


@pytest.mark.slow
def test_one_program_serves_all_prompts_of_a_shape_and_all_temperatures():
    traced = []

    def count(x):
        traced.append(x)
        return x

    body = seqmem.layers.Stack([BODIES["GRU"](), seqmem.layers.Map(count)])
    model = models.LanguageModel(body, TOKENS, key=key)
    options = {"max_length": 4, "key": key, "lengths": [7, 4, 1]}
    hot = models.generate(model, prompts(), temperature=1e4, top_p=0.9, **options)
    before = len(traced)
    options = {**options, "lengths": [3, 2, 6], "key": jax.random.key(8)}
    cold = models.generate(model, prompts(), temperature=1e-4, top_p=0.8, **options)
    assert len(traced) == before > 0
    greedy = models.generate(model, prompts(), max_length=4, lengths=[3, 2, 6])
    np.testing.assert_array_equal(cold.tokens, greedy.tokens)
    assert (hot.tokens != cold.tokens).any()


BIDIRECTIONAL = seqmem.layers.Bidirectional(
    seqmem.GRU(SIZE, 5, key=key), seqmem.GRU(SIZE, 5, key=key)
)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": np.ones((7, 3))}, "generate got the prompt of dtype float"),
        ({"prompt": np.ones((0, 3), int)}, "generate got a prompt of shape (0, 3)"),
        ({"prompt": 3}, "generate got a prompt of shape ()"),
        ({"prompt": [3, 11]}, "generate got the prompt between 3 and 11"),
        ({"lengths": [7, 0, 1]}, "generate got lengths of at least 0"),
        ({"lengths": [7, 1]}, "lengths is int64 of shape (2,)"),
        ({"max_length": 0}, "generate got max_length=0"),
        ({"temperature": -1.0, "key": key}, "generate got temperature=-1.0"),
        ({"temperature": 0.7}, "generate got temperature=0.7, top_k=None, top_p=1.0 and no key"),
        ({"top_k": 0, "key": key}, "generate got top_k=0"),
        ({"top_p": 1.5, "key": key}, "generate got top_p=1.5"),
        ({"repetition_penalty": 0.0}, "generate got repetition_penalty=0.0"),
        ({"key": jax.random.split(key, 2)}, "generate got a key that is key<fry> of shape (2,)"),
        ({"state": ((), jnp.zeros(3), ())}, "state[1] has shape (3,)"),
        ({"end": 0.5}, "greedy got end of dtype float32"),
        ({"body": BIDIRECTIONAL}, "generate got a model whose body, a Bidirectional"),
    ],
)
def test_generate_refuses_what_does_not_fit_in_three_parts(options, message):
    options = {"prompt": prompts(), "max_length": 3, "body": BODIES["GRU"](), **options}
    model = models.LanguageModel(options.pop("body"), TOKENS, key=key)
    assert_refused(message, models.generate, model, options.pop("prompt"), **options)


def test_language_model_refuses_a_body_without_vectors_in_three_parts():
    body = seqmem.layers.Map(jnp.tanh)
    message = "LanguageModel got a body with input_shape (None,)"
    assert_refused(message, models.LanguageModel, body, TOKENS, key=key)
    body = seqmem.layers.Stack([BODIES["GRU"](), seqmem.layers.Map(lambda y: (y, y))])
    message = "LanguageModel got a body with output_shape ((5,), (5,))"
    assert_refused(message, models.LanguageModel, body, TOKENS, key=key)


def test_language_model_refuses_a_cap_of_zero_in_three_parts():
    message = "LanguageModel got logit_cap=0.0"
    assert_refused(message, models.LanguageModel, BODIES["GRU"](), TOKENS, logit_cap=0.0, key=key)


def test_language_model_has_the_precision_of_its_body():
    body = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), BODIES["GRU"]())
    model = models.LanguageModel(body, TOKENS, bias=True, key=key)
    assert {leaf.dtype for leaf in jax.tree.leaves(model)} == {jnp.dtype(jnp.bfloat16)}


def test_prefill_refuses_an_empty_prompt_in_three_parts():
    message = "prefill got a prompt of shape (0,)"
    assert_refused(message, models.prefill, make_model(), None, np.zeros(0, int))
