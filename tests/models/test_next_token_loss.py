"""`next_token_loss` in chunks is the loss of all logits at once, and never has all of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import models
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow

TOKENS, SIZE, TIME, BATCH = 11, 5, 7, 3


def make_model(**options):
    keys = jax.random.split(jax.random.key(0))
    return models.LanguageModel(seqmem.GRU(SIZE, SIZE, key=keys[0]), TOKENS, **options, key=keys[1])


def texts():
    return np.random.default_rng(0).integers(0, TOKENS, (2, TIME, BATCH))


def reference_loss(model, inputs, targets, weights):
    """The sum from all logits, by the definition of the cross-entropy."""
    state, logits = seqmem.unroll(model, None, inputs)
    probabilities = jnp.exp(logits) / jnp.exp(logits).sum(-1, keepdims=True)
    chosen = (probabilities * jax.nn.one_hot(targets, TOKENS, dtype=logits.dtype)).sum(-1)
    return -(jnp.log(chosen) * weights).sum(), state


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("chunk_size", [3, slow(1), slow(None)])
@pytest.mark.parametrize(
    "options",
    [
        {"tied": True, "bias": True, "logit_cap": 2.0, "embedding_scale": 1.7},
        slow({}),
    ],
)
def test_loss_in_chunks_and_its_gradient_are_those_of_all_logits(options, chunk_size):
    model, (inputs, targets) = make_model(**options), texts()
    weights = np.random.default_rng(1).uniform(size=targets.shape)
    weights[4, 1] = 0

    def loss(model):
        total, weight, state = models.next_token_loss(
            model, None, (inputs, targets), weights=weights, chunk_size=chunk_size
        )
        return total, (weight, state)

    def reference(model):
        return reference_loss(model, inputs, targets, weights)

    (total, (weight, state)), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(model)
    (expected, final), expected_grads = jax.jit(jax.value_and_grad(reference, has_aux=True))(model)
    np.testing.assert_allclose(total, expected, rtol=1e-12)
    np.testing.assert_allclose(weight, weights.sum(), rtol=1e-12)
    assert jax.tree.structure(state) == jax.tree.structure(final)
    jax.tree.map(np.testing.assert_array_equal, state, final)
    for one, other in zip(jax.tree.leaves(grads), jax.tree.leaves(expected_grads), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.optimised
@pytest.mark.slow
def test_loss_and_its_gradient_never_hold_the_logits_of_all_steps():
    time, batch, tokens = 64, 4, 8192
    keys = jax.random.split(jax.random.key(0))
    model = models.LanguageModel(seqmem.GRU(SIZE, SIZE, key=keys[0]), tokens, key=keys[1])
    ids = jnp.zeros((time, batch), int)

    def temporary_bytes(chunk_size):
        def loss(model):
            return models.next_token_loss(model, None, (ids, ids), chunk_size=chunk_size)[0]

        compiled = jax.jit(jax.value_and_grad(loss)).lower(model).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    logits = time * batch * tokens * 4
    assert temporary_bytes(2) < logits / 4
    assert temporary_bytes(time) > logits


def test_targets_in_the_padding_are_not_read():
    model, (inputs, targets) = make_model(), texts()
    lengths = [7, 4, 1]
    is_valid = np.arange(TIME)[:, None] < np.array(lengths)
    padded = np.where(is_valid, targets, -100)
    total, weight, _ = models.next_token_loss(model, None, (inputs, padded), lengths=lengths)
    assert float(weight) == sum(lengths)
    logits = seqmem.unroll(model, None, inputs)[1]
    expected = jnp.where(is_valid, models.token_losses(logits, targets), 0).sum()
    np.testing.assert_allclose(total, expected, rtol=1e-6)


@pytest.mark.slow
def test_loss_is_one_for_truncated_bptt_with_a_carried_state_and_resets():
    model, (inputs, targets) = make_model(), texts()
    state = model.init_state(BATCH)
    gradient = seqmem.training.TruncatedBPTT(models.next_token_loss, window=TIME)
    result = gradient(model, gradient.init_carry(state, (inputs, targets)), (inputs, targets))
    assert float(result.weight) == inputs.size
    again = models.next_token_loss(model, result.carry, (inputs, targets))[0]
    resets = np.zeros(inputs.shape, bool)
    resets[0] = True
    reset = models.next_token_loss(model, result.carry, (inputs, targets), resets=resets)[0]
    np.testing.assert_allclose(reset, result.total, rtol=1e-6)
    assert abs(again - reset) > 1e-3


@pytest.mark.slow
def test_method_is_that_of_the_body():
    model, (inputs, targets) = make_model(norm=seqmem.layers.RMSNorm(SIZE)), texts()

    def grads(method):
        def total(model):
            return models.next_token_loss(model, None, (inputs, targets), method=method)[0]

        return jax.tree.leaves(jax.jit(jax.grad(total))(model))

    for one, other in zip(grads(seqmem.ReferenceScan()), grads(None), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    cut = seqmem.Scan(transform=seqmem.gradients.Detach(1))
    differences = [abs(a - b).max() for a, b in zip(grads(cut), grads(None), strict=True)]
    assert max(differences) > 1e-3
    assert differences[-1] < 1e-4  # the head is not cut


@pytest.mark.slow
def test_loss_of_equal_logits_is_the_logarithm_of_the_vocabulary_size():
    losses = models.token_losses(jnp.zeros((3, 7, 11)), jnp.full((3, 7), 4))
    np.testing.assert_allclose(losses, np.full((3, 7), np.log(11)), rtol=1e-6)
    assert np.isnan(models.token_losses(jnp.zeros((2, 11)), jnp.array([-1, 11]))).all()


@pytest.mark.slow
def test_bytes_of_eight_bits_have_the_loss_of_wide_ones():
    """256, the size of their vocabulary, is 0 in eight bits."""
    logits, ids = jax.random.normal(jax.random.key(0), (3, 256)), np.array([0, 7, 255])
    losses = models.token_losses(logits, jnp.asarray(ids, jnp.uint8))
    np.testing.assert_array_equal(losses, models.token_losses(logits, ids))
    assert np.isfinite(losses).all()


def test_half_precision_model_has_logits_and_loss_in_float32():
    model, (inputs, targets) = make_model(), texts()
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), model)
    assert seqmem.unroll(half, None, inputs)[1].dtype == jnp.float32
    total, _, _ = models.next_token_loss(half, None, (inputs, targets), chunk_size=3)
    assert total.dtype == jnp.float32
    expected = models.next_token_loss(model, None, (inputs, targets))[0]
    np.testing.assert_allclose(total, expected, rtol=0.05)


@pytest.mark.parametrize(
    ("batch", "options", "message"),
    [
        (texts()[0], {}, "next_token_loss got a batch that is a ndarray"),
        ((texts()[0], texts()[1][1:]), {}, "next_token_loss got inputs of shape (7, 3) and"),
        ((texts()[0] / 2, texts()[1]), {}, "next_token_loss got inputs of dtype float"),
        ((texts()[0], texts()[1] + 5), {}, "next_token_loss got targets between 5 and 14"),
        (texts(), {"weights": np.ones(7)}, "next_token_loss got weights of shape (7,)"),
        (texts(), {"chunk_size": 0}, "next_token_loss got chunk_size=0"),
    ],
)
def test_loss_refuses_what_does_not_fit_in_three_parts(batch, options, message):
    batch = tuple(batch) if len(batch) == 2 else batch
    assert_refused(message, models.next_token_loss, make_model(), None, batch, **options)
