"""The training step: its update, its metrics, and the steps that it skips."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import seqmem
from seqmem import experiment, gradients, training
from seqmem._core.trees import tree_norm
from tests.helpers.slow import slow
from tests.helpers.training_losses import (
    as_float32,
    assert_close,
    assert_same_bits,
    batch_for,
    draw_parameters,
    loss,
    make_cell,
    state_for,
)

TIME = 7
ADAM = optax.adam(0.01)
CLIPPED_ADAM = optax.chain(optax.clip_by_global_norm(1.0), ADAM)
windows = pytest.mark.parametrize(("window", "stride"), [(TIME, None), (2 * TIME, TIME)])
traces = []


def counted_loss(*args, **options):
    traces.append(None)
    return loss(*args, **options)


def make_batches(cell, count):
    batch = batch_for(cell, count * TIME)
    return [
        jax.tree.map(lambda leaf, t=t: leaf[t : t + TIME], batch)
        for t in range(0, count * TIME, TIME)
    ]


@functools.cache
def make_gru_step(window=TIME, stride=None):
    """The gradient and the step of a GRU, the same for every test, so that they share programs."""
    gradient = training.TruncatedBPTT(counted_loss, window, stride)
    return gradient, training.make_step(gradient, ADAM)


def begin_gru(gradient, batch):
    cell = make_cell("GRU")
    return training.begin_training(cell, ADAM, gradient.init_carry(state_for(cell), batch))


def gru_batches(count):
    return [as_float32(batch) for batch in make_batches(make_cell("GRU"), count)]


def run(step, state, batches):
    metrics = [None] * len(batches)
    for i, batch in enumerate(batches):
        state, metrics[i] = step(state, batch)
    return state, metrics


@pytest.mark.parametrize("name", ["LSTM", slow("GatedDeltaRule"), slow("Stack")])
def test_steps_match_a_loop_written_with_optax(name, float64):
    cell = make_cell(name)
    batches, init_state = make_batches(cell, 3), state_for(cell)
    gradient = training.TruncatedBPTT(loss, window=TIME, flow=True)
    step = training.make_step(
        gradient, CLIPPED_ADAM, extra_metrics=lambda g: {"norms": g.mean_norms}
    )
    carry = gradient.init_carry(init_state, batches[0])
    state, metrics = run(step, training.begin_training(cell, CLIPPED_ADAM, carry), batches)

    def mean(model, memory, batch, perturbations=None):
        total, weight, memory = loss(model, memory, batch, perturbations=perturbations)
        return total / weight, memory

    @jax.jit
    def expected_step(model, opt_state, memory, batch):
        differentiated = gradients.value_grad_and_flow(mean, has_aux=True)
        (value, memory), grads, flow = differentiated(model, memory, batch)
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = CLIPPED_ADAM.update(grads, opt_state, model)
        metrics = {"loss": value, "gradient_norm": tree_norm(grads), "norms": flow.norm()}
        return (eqx.apply_updates(model, updates), opt_state, memory), metrics

    expected = cell, CLIPPED_ADAM.init(cell), init_state
    for batch, got in zip(batches, metrics, strict=True):
        expected, expected_metrics = expected_step(*expected, batch)
        assert_close({name: got[name] for name in expected_metrics}, expected_metrics)
        assert (int(got["skipped"]), int(got["weight"])) == (0, TIME * 3)
    assert_close((state.model, state.opt_state, state.carry), expected, within=1e-10)
    assert (int(state.steps), int(state.skipped)) == (3, 0)


def make_infinite(batch):
    """The total is infinite."""
    return {**batch, "weights": np.full_like(batch["weights"], 1e38)}


def make_nan(batch):
    xs = batch["xs"].copy()
    xs[2, 1] = np.nan
    return {**batch, "xs": xs}


def make_steep(batch):
    """The gradient is finite, but its square, which Adam keeps, is not."""
    return {**batch, "weights": 1e25 * batch["weights"]}


@pytest.mark.parametrize("spoil", [make_infinite, make_nan, make_steep])
@windows
def test_nonfinite_step_is_skipped_and_changes_no_bit(spoil, window, stride):
    gradient, step = make_gru_step(window, stride)
    batches = gru_batches(3)
    spoilt = [batches[0], spoil(batches[1]), *batches[1:]]
    state, metrics = run(step, begin_gru(gradient, batches[0]), spoilt)
    expected, _ = run(step, begin_gru(gradient, batches[0]), batches)
    assert [int(row["skipped"]) for row in metrics] == [0, 1, 0, 0]
    assert (int(state.steps), int(state.skipped)) == (3, 1)
    assert_same_bits(
        (state.model, state.opt_state, state.carry),
        (expected.model, expected.opt_state, expected.carry),
    )
    experiment.stop_if_skipped(1, metrics[0])
    with pytest.raises(FloatingPointError, match=r"(?s)step 2 was skipped: loss.*What to do: "):
        experiment.stop_if_skipped(2, metrics[1])


def test_nonfinite_state_after_the_last_target_is_not_carried():
    def loss_of_first_steps(cell, state, batch):
        state, ys = seqmem.unroll(cell, state, batch["xs"][:3])
        state, _ = seqmem.unroll(cell, state, batch["xs"][3:])  # no targets
        return jnp.sum(ys**2), ys.size, state

    gradient = training.TruncatedBPTT(loss_of_first_steps, TIME)
    (batch,) = gru_batches(1)
    batch["xs"][5, 1] = np.nan
    state = begin_gru(gradient, batch)
    old_carry = np.array(state.carry)
    state, metrics = training.make_step(gradient, ADAM)(state, batch)
    assert np.isfinite(metrics["loss"])
    assert np.isfinite(metrics["gradient_norm"])
    assert int(metrics["skipped"]) == 1
    assert_same_bits(state.carry, old_carry)


def test_batch_without_a_valid_step_is_skipped():
    gradient, step = make_gru_step()
    (batch,) = gru_batches(1)
    state, metrics = step(begin_gru(gradient, batch), batch, np.zeros(3, np.int32))
    assert (int(metrics["skipped"]), int(state.skipped)) == (1, 1)


def test_step_donates_its_state_and_spares_the_model():
    gradient, step = make_gru_step()
    (batch,) = gru_batches(1)
    cell = make_cell("GRU")
    carry = gradient.init_carry(state_for(cell), batch)
    state = training.begin_training(cell, ADAM, carry)
    new_state, _ = step(state, batch)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((state.model, state.opt_state)))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((cell, new_state)))


@windows
def test_step_is_traced_once(window, stride):
    gradient, step = make_gru_step(window, stride)
    batches = gru_batches(4)
    state, _ = step(begin_gru(gradient, batches[0]), batches[0])
    num_traces = len(traces)
    run(step, state, batches[1:])
    assert len(traces) == num_traces > 0


@pytest.mark.slow
def test_model_may_hold_functions():
    class Reader(eqx.Module):
        cell: seqmem.GRU
        head: eqx.nn.MLP  # its activation is a leaf

    def squares(model, state, batch):
        state, ys = seqmem.unroll(model.cell, state, batch["xs"])
        outputs = jax.vmap(jax.vmap(model.head))(ys)
        return jnp.sum(outputs**2), outputs.size, state

    head = draw_parameters(lambda: eqx.nn.MLP(5, 2, 3, 1, key=jax.random.key(1)))
    reader, batches = Reader(make_cell("GRU"), head), gru_batches(3)
    gradient = training.MicroBatched(training.TruncatedBPTT(squares, 2 * TIME, TIME), 3)
    carry = gradient.init_carry(state_for(reader.cell), batches[0])
    state = training.begin_training(reader, ADAM, carry)
    state, metrics = run(training.make_step(gradient, ADAM), state, batches)
    assert float(metrics[-1]["loss"]) < float(metrics[0]["loss"])
    assert state.model.head.activation is reader.head.activation
