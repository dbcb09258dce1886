"""Truncated BPTT against a graph that is truncated step by step."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import gradients, training
from seqmem._core.batching import vmap_axes
from seqmem._core.step import select
from tests.helpers.slow import slow, slow_but
from tests.helpers.training_losses import (
    assert_close,
    assert_same_bits,
    batch_for,
    draw_parameters,
    jitted,
    loss,
    make_cell,
    state_for,
    weighted_sum,
)

pytestmark = pytest.mark.usefixtures("float64")

FAMILIES = [
    "LSTM",
    "GRU",
    "MGU",
    "LRU",
    "S6",
    "GatedDeltaRule",
    "CausalConv",
    "SlidingWindowAttention",
    "Stack",
    "gated_delta_net",
    "MGU with_learned_state",
]
QUICK = {"LSTM", "LRU"}
every_family = pytest.mark.parametrize("name", slow_but(QUICK, FAMILIES))


def make_case(name, time):
    """A cell, a state, a batch whose padding is NaN, and lengths."""
    cell = make_cell(name)
    batch, lengths = batch_for(cell, time), np.array([time, time - 3, 4])
    is_padding = np.arange(time)[:, None] >= lengths
    batch["xs"] = np.where(is_padding[..., None], np.nan, batch["xs"])
    return cell, state_for(cell), batch, lengths


@jax.jit
def window_gradient(cell, state, batch, is_valid):
    """The loss of one window, step by step from a constant state; its gradient; the final state."""

    def run(cell):
        def step(state, inputs):
            x, reset, is_valid = inputs
            old = vmap_axes(lambda r, s: select(r, cell.init_state(), s), 1)(reset, state)
            new, y = vmap_axes(cell, 1)(old, x)
            choose = vmap_axes(select, 1)
            zeros = jax.tree.map(jnp.zeros_like, y)
            return choose(is_valid, new, state), choose(is_valid, y, zeros)

        xs = jnp.where(is_valid[..., None], batch["xs"], 0)
        final, ys = jax.lax.scan(step, state, (xs, batch["resets"] & is_valid, is_valid))
        return weighted_sum(ys, batch["weights"]), final

    (total, final), grads = jax.value_and_grad(run, has_aux=True)(cell)
    return total, grads, final


def reference(cell, state, batch, lengths, *, window, stride):
    """The sums of truncated BPTT: for each stride, the gradient of its loss through its window.

    Steps of a window before the stride have weight 0. All windows have the same length, so that
    they share a program: steps before the beginning and after the end are not valid.
    """
    time = len(batch["xs"])
    states, sums = [state], None
    for start in range(0, time, stride):
        end, first = start + stride, start + stride - window
        steps = np.arange(first, end)
        part = jax.tree.map(lambda leaf, steps=steps: leaf[np.clip(steps, 0, time - 1)], batch)
        part["weights"] = np.where((steps >= start)[:, None], part["weights"], 0)
        is_valid = (steps >= 0)[:, None] & (steps[:, None] < np.minimum(lengths, time))
        *terms, final = window_gradient(cell, states[max(first, 0) // stride], part, is_valid)
        states.append(final)
        sums = terms if sums is None else jax.tree.map(np.add, sums, terms)
    return *sums, states[-1]


@every_family
@pytest.mark.parametrize("transform", [slow(lambda fn: fn), jitted], ids=["eager", "jit"])
def test_window_as_long_as_time_gives_the_bits_of_the_whole_gradient(name, transform):
    """Both functions return the same arrays, since XLA's fusion, and rounding, depend on them."""
    args = make_case(name, 11)
    assert_same_bits(transform(_truncated)(*args), transform(_whole)(*args))


def _truncated(*args):
    return training.TruncatedBPTT(loss, window=11)(*args)[:4]


def _whole(*args):
    def run(*args):
        total, weight, state = loss(*args)
        return total, (weight, state)

    (total, (weight, state)), grads = jax.value_and_grad(run, has_aux=True)(*args)
    return total, weight.astype(total.dtype), grads, state


@pytest.mark.optimised
@pytest.mark.parametrize(
    "method", [None, slow(seqmem.Scan(recompute=True)), slow(seqmem.ReferenceScan())]
)
@pytest.mark.parametrize("remat_every", [None, slow(4)])
def test_optimised_gradient_has_the_bits_of_unroll_with_its_options(method, remat_every):
    with jax.enable_x64(False):
        cell, state, batch, lengths = make_case("LSTM", 11)
        batch = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, bool if leaf.dtype == bool else jnp.float32), batch
        )
        unroll_loss = functools.partial(loss, method=method, remat_every=remat_every)
        gradient = training.TruncatedBPTT(unroll_loss, window=13)
        truncated = jax.jit(gradient)(cell, state, batch, lengths)
        whole = jax.jit(jax.grad(lambda *args: unroll_loss(*args)[0]))(cell, state, batch, lengths)
        assert truncated.total.dtype == jnp.float32
        assert_same_bits(truncated.grads, whole)


@every_family
@pytest.mark.parametrize(
    ("window", "stride", "time"),
    [slow(3, None, 11), (6, 2, 10), slow(6, 3, 12)],
)
def test_truncated_gradient_matches_the_reference(name, window, stride, time):
    cell, state, batch, lengths = make_case(name, time)
    gradient = training.TruncatedBPTT(loss, window, stride)
    carry = gradient.init_carry(state, batch, lengths)
    result = jitted(gradient)(cell, carry, batch, lengths)
    total, grads, final = reference(
        cell, state, batch, lengths, window=window, stride=stride or window
    )
    assert_close((result.total, result.grads), (total, grads))
    if stride is None:
        assert_close(result.carry, final)
        if name != "CausalConv":  # its state holds inputs, whose gradient nobody needs
            whole = jitted(_truncated)(cell, state, batch, lengths)
            with pytest.raises(AssertionError):
                assert_close(result.grads, whole[2], within=1e-6)
    assert float(result.weight) == lengths.sum()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["LSTM", slow("GatedDeltaRule"), slow("MGU with_learned_state")])
@pytest.mark.parametrize(("window", "stride"), [slow(3, None), (9, 3)])
def test_strides_one_call_each_sum_to_one_call(name, window, stride):
    cell, state, batch, lengths = make_case(name, 15)
    gradient = training.TruncatedBPTT(loss, window, stride, flow=True)
    init_carry = gradient.init_carry(state, batch, lengths)
    at_once = jitted(gradient)(cell, init_carry, batch, lengths)
    carry, results, size = init_carry, [], stride or window
    for start in range(0, 15, size):
        segment = jax.tree.map(lambda leaf, t=start: leaf[t : t + size], batch)
        valid_steps = np.clip(lengths - start, 0, size)
        results.append(jitted(gradient)(cell, carry, segment, valid_steps))
        carry = results[-1].carry
    sums = jax.tree.map(lambda *leaves: sum(leaves), *(result.sums for result in results))
    assert_close(sums, at_once.sums)
    assert_close(np.concatenate([result.norms for result in results]), at_once.norms)
    assert_close(carry, at_once.carry, may_be_nan=True)


@pytest.mark.parametrize("name", [slow("LSTM"), slow("MGU"), "LRU"])
def test_detach_truncates_in_the_same_places(name):
    cell, state, batch, lengths = make_case(name, 11)
    gradient = training.TruncatedBPTT(loss, window=3)
    truncated = jitted(gradient)(cell, state, batch, lengths)
    detached_loss = functools.partial(loss, method=seqmem.Scan(transform=gradients.Detach(3)))
    detached = jax.grad(lambda cell: detached_loss(cell, state, batch, lengths)[0])
    assert_close(truncated.grads, jax.jit(detached)(cell))


@pytest.mark.parametrize(("window", "stride"), [(3, None), slow(6, 3)])
def test_flow_norms_are_those_of_each_stride_alone(window, stride):
    cell, state, batch, lengths = make_case("LSTM", 15)
    gradient = training.TruncatedBPTT(loss, window, stride, flow=True)
    carry = gradient.init_carry(state, batch, lengths)
    result = jitted(gradient)(cell, carry, batch, lengths)

    @jax.jit
    @functools.partial(gradients.value_grad_and_flow, has_aux=True)
    def measure(cell, state, batch, lengths, perturbations):
        total, _, state = loss(cell, state, batch, lengths, perturbations=perturbations)
        return total, state

    norms, size = [], stride or window
    for start in range(0, 15, size):
        segment = jax.tree.map(lambda leaf, t=start: leaf[t : t + size], batch)
        (_, state), _, flow = measure(cell, state, segment, np.clip(lengths - start, 0, size))
        norms.append(flow.norm())
    norms = np.concatenate(norms)
    assert_close(result.norms, norms)
    assert_close(result.mean_norms, norms / lengths.sum())


@pytest.mark.parametrize(("window", "stride"), [(3, None), slow(6, 3)])
def test_flow_changes_no_sum(window, stride):
    cell, state, batch, lengths = make_case("LSTM", 15)
    gradient = training.TruncatedBPTT(loss, window, stride)
    with_flow = dataclasses.replace(gradient, flow=True)
    args = cell, gradient.init_carry(state, batch, lengths), batch, lengths
    assert_close(jitted(gradient)(*args).sums, jitted(with_flow)(*args).sums)


def test_flow_norms_of_several_cells_have_their_names():
    cells = {
        "low": make_cell("GRU"),
        "high": draw_parameters(lambda: seqmem.MGU(5, 5, key=jax.random.key(0))),
    }
    batch, state = batch_for(cells["low"], 7), {k: state_for(cell) for k, cell in cells.items()}

    def both(cells, state, batch, perturbations):
        ys, final = batch["xs"], {}
        for name in ("low", "high"):
            final[name], ys = seqmem.unroll(
                cells[name], state[name], ys, perturbations=perturbations[name]
            )
        return jnp.sum(ys**2), ys.size, final

    gradient = training.TruncatedBPTT(both, window=7, flow=True)
    norms = jax.jit(gradient)(cells, state, batch).norms
    assert {name: values.shape for name, values in norms.items()} == {"low": (7, 3), "high": (7, 3)}
    assert all((values > 0).all() for values in norms.values())


def test_bfloat16_gradients_are_summed_over_windows_in_float32():
    # 2¹¹ equal terms: in bfloat16 a sum of ones stays at 256.
    with jax.enable_x64(False):
        cell = jax.tree.map(lambda leaf: jnp.zeros_like(leaf, jnp.bfloat16), make_cell("RNN"))

        def total(cell, state, xs):
            state, ys = seqmem.unroll(cell, state, xs)
            return jnp.sum(ys), ys.size, state

        gradient = training.TruncatedBPTT(total, window=1)
        result = jax.jit(gradient)(cell, jnp.zeros(5), np.ones((2048, 2), np.float32))
        np.testing.assert_array_equal(result.grads.b.astype(jnp.float32), np.full(5, 2048.0))
