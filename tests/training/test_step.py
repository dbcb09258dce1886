"""The step of training: what it changes, what it tells, and what it leaves alone."""

import functools
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import seqmem
from seqmem import gradients, training
from seqmem._core.trees import tree_norm
from tests.helpers.cells import CELLS
from tests.helpers.slow import slow
from tests.helpers.training_losses import agree, batch_for, loss, same_bits, state_for

TIME = 7
ADAM = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.01))


def narrow(tree):
    """In float32, as arrays of JAX."""
    return jax.tree.map(
        lambda leaf: jnp.asarray(leaf, jnp.float32 if leaf.dtype == np.float64 else None), tree
    )


def batches(cell, count, *, batch=3):
    whole = batch_for(cell, count * TIME, batch=batch)
    return [
        jax.tree.map(lambda leaf, t=t: leaf[t : t + TIME], whole)
        for t in range(0, count * TIME, TIME)
    ]


def run(step, state, batches):
    told = []
    for batch in batches:
        state, said = step(state, batch)
        told.append(said)
    return state, told


def begun(cell, gradient, batch, optimiser=ADAM):
    carry = gradient.begin(narrow(state_for(cell)), batch)
    return training.begin_training(cell, optimiser, carry)


@pytest.mark.parametrize("name", ["LSTM", slow("GatedDeltaRule"), slow("Stack")])
def test_steps_are_those_of_a_loop_by_hand(name, float64):
    cell = CELLS[name]()
    gradient, given = training.TruncatedBPTT(loss, window=TIME, flow=True), batches(cell, 3)
    step = training.make_step(gradient, ADAM, tell=lambda found: {"norms": found.mean_norms})
    carry = gradient.begin(state_for(cell), given[0])
    state, told = run(step, training.begin_training(cell, ADAM, carry), given)

    model, opt_state, memory = cell, ADAM.init(cell), state_for(cell)

    def mean(model, memory, batch, perturbations=None):
        total, weight, memory = loss(model, memory, batch, perturbations=perturbations)
        return total / weight, memory

    measure = jax.jit(gradients.value_grad_and_flow(mean, has_aux=True))
    for batch, said in zip(given, told, strict=True):
        (value, memory), grads, flow = measure(model, memory, batch)
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = ADAM.update(grads, opt_state, model)
        model = eqx.apply_updates(model, updates)
        norm = tree_norm(grads)
        want = {"loss": value, "gradient_norm": norm, "norms": flow.norm()}
        agree({name: said[name] for name in want}, want)
        assert (int(said["skipped"]), int(said["weight"])) == (0, TIME * 3)
    agree((state.model, state.opt_state, state.carry), (model, opt_state, memory), within=1e-10)
    assert (int(state.steps), int(state.skipped)) == (3, 0)


@pytest.mark.parametrize(
    "name", ["LSTM", slow("S6"), slow("GatedDeltaRule"), slow("CausalConv"), slow("Stack")]
)
@pytest.mark.parametrize(("window", "stride"), [(6, None), slow(6, 3)])
def test_micro_batches_give_what_the_whole_batch_gives(name, window, stride, float64):
    cell = CELLS[name]()
    batch, lengths = batch_for(cell, 12, batch=10), np.arange(10) + 3
    whole = training.TruncatedBPTT(loss, window, stride, flow=True)
    carry = whole.begin(state_for(cell, batch=10), batch, lengths)
    want = jax.jit(whole)(cell, carry, batch, lengths)
    got = jax.jit(training.MicroBatched(whole, 5))(cell, carry, batch, lengths)
    agree(got, want)
    agree(got.mean_grads, want.mean_grads)


def test_the_mean_is_over_all_valid_steps_and_not_over_means(float64):
    cell = CELLS["GRU"]()
    batch, lengths = batch_for(cell, TIME, batch=2), np.array([7, 1])
    gradient = training.MicroBatched(training.TruncatedBPTT(loss, TIME), 2)
    found = jax.jit(gradient)(cell, state_for(cell, batch=2), batch, lengths)
    total, weight, _ = loss(cell, state_for(cell, batch=2), batch, lengths)
    agree(found.value, total / 8)
    assert weight == 8


def endless(batch):
    batch["share"] = np.full_like(batch["share"], 1e38)  # the total is infinite
    return batch


def not_a_number(batch):
    batch["xs"][2, 1] = np.nan
    return batch


def steep(batch):
    batch["share"] = 1e25 * batch["share"]  # finite, but the square that Adam keeps is not
    return batch


def bad(batch, spoil):
    return spoil(jax.tree.map(lambda leaf: leaf.copy(), narrow_numpy(batch)))


def narrow_numpy(batch):
    return jax.tree.map(
        lambda leaf: leaf.astype(np.float32) if leaf.dtype == np.float64 else leaf, batch
    )


@pytest.mark.parametrize("spoil", [endless, not_a_number, steep])
@pytest.mark.parametrize(("window", "stride"), [(TIME, None), (2 * TIME, TIME)])
def test_a_step_that_is_not_finite_leaves_everything_as_it_was(spoil, window, stride):
    cell = CELLS["GRU"]()
    gradient, given = training.TruncatedBPTT(loss, window, stride), batches(cell, 3)
    given = [narrow_numpy(batch) for batch in given]
    optimiser = optax.adam(0.01)
    step = training.make_step(gradient, optimiser)
    with_bad, told = run(
        step,
        begun(cell, gradient, given[0], optimiser),
        [given[0], bad(given[1], spoil), *given[1:]],
    )
    without, _ = run(step, begun(cell, gradient, given[0], optimiser), given)
    assert [int(said["skipped"]) for said in told] == [0, 1, 0, 0]
    assert (int(with_bad.steps), int(with_bad.skipped)) == (3, 1)
    same_bits(
        (with_bad.model, with_bad.opt_state, with_bad.carry),
        (without.model, without.opt_state, without.carry),
    )
    training.stop_where_skipped(0, told[0])
    with pytest.raises(FloatingPointError, match=r"(?s)step 1: loss.*What to do: "):
        training.stop_where_skipped(1, told[1])


def test_a_state_that_breaks_behind_the_last_target_is_not_carried_on():
    cell = CELLS["GRU"]()

    def early(cell, state, batch):
        state, ys = seqmem.unroll(cell, state, batch["xs"][:3])
        state, _ = seqmem.unroll(cell, state, batch["xs"][3:])  # without targets
        return jnp.sum(ys**2), ys.size, state

    gradient = training.TruncatedBPTT(early, TIME)
    (batch,) = map(narrow_numpy, batches(cell, 1))
    wrong = {**batch, "xs": batch["xs"].copy()}
    wrong["xs"][5, 1] = np.nan
    start = begun(cell, gradient, batch)
    before = jax.tree.map(jnp.copy, start.carry)
    state, told = training.make_step(gradient, ADAM)(start, wrong)
    assert np.isfinite(told["loss"])
    assert np.isfinite(told["gradient_norm"])
    assert int(told["skipped"]) == 1
    same_bits(state.carry, before)


def test_a_batch_without_a_valid_step_is_skipped():
    cell = CELLS["GRU"]()
    gradient = training.TruncatedBPTT(loss, TIME)
    (batch,) = map(narrow_numpy, batches(cell, 1))
    step, state = training.make_step(gradient, ADAM), begun(cell, gradient, batch)
    state, told = step(state, batch, np.zeros(3, np.int32))
    assert (int(told["skipped"]), int(state.skipped)) == (1, 1)


def test_the_model_stays_and_the_state_handed_in_is_given_up():
    cell = CELLS["GRU"]()
    gradient = training.TruncatedBPTT(loss, TIME)
    given = [narrow_numpy(batch) for batch in batches(cell, 2)]
    state = begun(cell, gradient, given[0])
    after, _ = training.make_step(gradient, ADAM)(state, given[0])
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves((state.model, state.opt_state)))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((cell, after)))


def test_a_step_is_traced_once():
    cell, traces = CELLS["GRU"](), []

    def counted(*args):
        traces.append(None)
        return loss(*args)

    gradient = training.TruncatedBPTT(counted, 2 * TIME, TIME)
    given = [narrow_numpy(batch) for batch in batches(cell, 4)]
    step, state = training.make_step(gradient, ADAM), begun(cell, gradient, given[0])
    state, _ = step(state, given[0])
    first = len(traces)
    run(step, state, given[1:])
    assert len(traces) == first > 0


def test_a_model_may_hold_functions():
    class Reader(eqx.Module):
        cell: seqmem.GRU
        head: eqx.nn.MLP  # whose activation is a leaf

    def squares(model, state, batch):
        state, ys = seqmem.unroll(model.cell, state, batch["xs"])
        shown = jax.vmap(jax.vmap(model.head))(ys)
        return jnp.sum(shown**2), shown.size, state

    reader = Reader(CELLS["GRU"](), eqx.nn.MLP(5, 2, 3, 1, key=jax.random.key(1)))
    given = [narrow_numpy(batch) for batch in batches(reader.cell, 3)]
    gradient = training.MicroBatched(training.TruncatedBPTT(squares, 2 * TIME, TIME), 3)
    carry = gradient.begin(narrow(state_for(reader.cell)), given[0])
    state = training.begin_training(reader, ADAM, carry)
    state, told = run(training.make_step(gradient, ADAM), state, given)
    assert float(told[-1]["loss"]) < float(told[0]["loss"])
    assert state.model.head.activation is reader.head.activation


def rounded(tree):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), tree)


def test_narrow_computation_is_that_of_the_rounded_model():
    cell = CELLS["LSTM"]()
    (batch,) = map(narrow_numpy, batches(cell, 1))
    state = narrow(state_for(cell))
    gradient = training.TruncatedBPTT(training.mixed_precision(loss), TIME)
    found = jax.jit(gradient)(cell, state, batch)
    want = jax.jit(training.TruncatedBPTT(loss, TIME))(rounded(cell), state, batch)
    same_bits(found.total, want.total)
    same_bits(found.carry, want.carry)
    same_bits(found.grads, jax.tree.map(lambda leaf: leaf.astype(jnp.float32), want.grads))
    assert {leaf.dtype for leaf in jax.tree.leaves((found.grads, found.carry))} == {
        np.dtype("float32")
    }
    program = jax.jit(gradient).lower(cell, state, batch).as_text()
    assert re.search(r"dot_general.*bf16", program)


def test_master_weights_take_steps_that_narrow_ones_cannot_see():
    cell = CELLS["GRU"]()
    given = [narrow_numpy(batch) for batch in batches(cell, 1)] * 40
    tiny = optax.sgd(1e-4)

    def moved(cell, loss):
        gradient = training.TruncatedBPTT(loss, TIME)
        start = begun(cell, gradient, given[0], tiny)
        state, told = run(training.make_step(gradient, tiny), start, given)
        assert not any(int(said["skipped"]) for said in told)
        assert state.model.U.dtype == cell.U.dtype
        return float((state.model.U != cell.U).mean())

    assert moved(cell, training.mixed_precision(loss)) > 0.9
    assert moved(rounded(cell), loss) < 0.1


def test_micro_batches_and_windows_of_narrow_gradients_are_summed_in_float32():
    # 2¹¹ equal terms: in bfloat16 a sum of ones stays at 256.
    cell = jax.tree.map(jnp.zeros_like, CELLS["RNN"]())

    def total(cell, state, xs):
        state, ys = seqmem.unroll(cell, state, xs)
        return jnp.sum(ys), ys.size, state

    gradient = training.MicroBatched(training.TruncatedBPTT(training.mixed_precision(total), 1), 8)
    found = jax.jit(gradient)(cell, jnp.zeros((8, 5)), jnp.ones((256, 8, 2)))
    np.testing.assert_array_equal(found.grads.b, np.full(5, 2048.0))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (functools.partial(training.MicroBatched, training.TruncatedBPTT(loss, 7), 0), "at least 1"),
        (lambda: accumulated(2), "whose size 2 divides"),
        (lambda: accumulated(5), "whose size 5 divides"),
    ],
)
def test_a_batch_that_does_not_divide_is_refused(wrong, sentence):
    with pytest.raises(ValueError, match=rf"(?s){sentence}.*What to do: "):
        wrong()


def accumulated(count):
    cell = CELLS["GRU"]()
    batch = narrow_numpy(batch_for(cell, TIME))
    gradient = training.MicroBatched(training.TruncatedBPTT(loss, TIME), count)
    return gradient(cell, narrow(state_for(cell)), batch)
