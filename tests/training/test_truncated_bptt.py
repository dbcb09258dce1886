"""Truncated backpropagation against the graph that is cut by hand."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import gradients, training
from seqmem._core.batching import vmap_axes
from seqmem._core.step import select
from tests.helpers.cells import CELLS
from tests.helpers.slow import slow, slow_but
from tests.helpers.training_losses import agree, batch_for, draw, loss, same_bits, shown, state_for

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


def by_hand(cell, state, batch, lengths, *, window, stride):
    """Σ_i L_i, each of a stride, through steps one by one from where its window begins."""
    time = len(batch["xs"])
    valid = np.arange(time)[:, None] < lengths

    def run(cell, state, start, end):
        def step(state, here):
            x, reset, there = here
            before = vmap_axes(lambda r, s: select(r, cell.init_state(), s), 1)(reset, state)
            after, y = vmap_axes(cell, 1)(before, x)
            keep = vmap_axes(select, 1)
            return keep(there, after, state), keep(there, y, jax.tree.map(jnp.zeros_like, y))

        xs = jnp.where(valid[..., None], batch["xs"], 0)
        steps = jax.tree.map(lambda leaf: leaf[start:end], (xs, batch["resets"] & valid, valid))
        state, ys = jax.lax.scan(step, state, steps)
        return state, shown(ys, batch["share"][start:end])

    borders = [*range(0, time, stride), time]
    found = [state]
    for start, end in itertools.pairwise(borders):
        found.append(run(cell, found[-1], start, end)[0])
    fixed = jax.lax.stop_gradient(found)

    def total(cell):
        parts = []
        for i in range(len(borders) - 1):
            first = max(0, i + 1 - window // stride)
            before, _ = run(cell, fixed[first], borders[first], borders[i])
            parts.append(run(cell, before, borders[i], borders[i + 1])[1])
        return sum(parts)

    return *jax.value_and_grad(total)(cell), found[-1]


def setting(name, time):
    cell = CELLS[name]()
    batch, lengths = batch_for(cell, time), np.array([time, time - 3, 4])
    padded = np.arange(time)[:, None] >= lengths
    batch["xs"] = np.where(padded[..., None], np.nan, batch["xs"])  # padding is never read
    return cell, state_for(cell), batch, lengths


@every_family
@pytest.mark.parametrize("within", [lambda fn: fn, jax.jit], ids=["calls", "one program"])
def test_a_window_as_long_as_time_gives_the_whole_gradient_to_the_bit(name, within):
    """Both return the same: XLA fuses by what else is returned, and rounds by how it fuses."""
    cell, state, batch, lengths = setting(name, 11)

    def truncated(*args):
        return training.TruncatedBPTT(loss, window=11)(*args)[:4]

    def whole(*args):
        def run(*args):
            total, weight, after = loss(*args)
            return total, (weight, after)

        (total, (weight, after)), grads = jax.value_and_grad(run, has_aux=True)(*args)
        return total, weight.astype(total.dtype), grads, after

    args = cell, state, batch, lengths
    same_bits(within(truncated)(*args), within(whole)(*args))


@pytest.mark.optimised
@pytest.mark.parametrize(
    "method", [None, slow(seqmem.Scan(recompute=True)), slow(seqmem.ReferenceScan())]
)
@pytest.mark.parametrize("chunk", [None, slow(4)])
def test_the_bits_are_those_of_the_same_method_and_chunk(method, chunk):
    with jax.enable_x64(False):
        cell, state, batch, lengths = setting("LSTM", 11)
        cell, state, batch = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, bool if leaf.dtype == bool else jnp.float32),
            (cell, state, batch),
        )
        own = functools.partial(loss, method=method, remat_every=chunk)
        truncated = jax.jit(training.TruncatedBPTT(own, window=13))(cell, state, batch, lengths)
        whole = jax.jit(jax.grad(lambda *args: own(*args)[0]))(cell, state, batch, lengths)
        assert truncated.total.dtype == jnp.float32
        same_bits(truncated.grads, whole)


@every_family
@pytest.mark.parametrize(
    ("window", "stride", "time"),
    [(3, None, 11), (6, 3, 12), slow(6, 2, 10)],
)
def test_the_gradient_is_that_of_the_cut_graph(name, window, stride, time):
    cell, state, batch, lengths = setting(name, time)
    gradient = training.TruncatedBPTT(loss, window, stride)
    carry = gradient.begin(state, batch, lengths)
    found = jax.jit(gradient)(cell, carry, batch, lengths)
    hand = functools.partial(by_hand, window=window, stride=stride or window)
    total, grads, last = jax.jit(hand)(cell, state, batch, lengths)
    agree((found.total, found.grads), (total, grads))
    if stride is None:
        agree(found.carry, last)
        if name != "CausalConv":  # whose state holds inputs, which have no gradient to be cut
            whole = jax.jit(training.TruncatedBPTT(loss, time))(cell, state, batch, lengths)
            with pytest.raises(AssertionError):
                agree(found.grads, whole.grads, within=1e-6)
    assert float(found.weight) == lengths.sum()


@pytest.mark.parametrize("name", ["LSTM", slow("GatedDeltaRule"), slow("MGU with_learned_state")])
@pytest.mark.parametrize(("window", "stride"), [(3, None), (9, 3)])
def test_called_for_each_stride_it_gives_what_it_gives_at_once(name, window, stride):
    cell, state, batch, lengths = setting(name, 15)
    gradient = training.TruncatedBPTT(loss, window, stride, flow=True)
    begin = gradient.begin(state, batch, lengths)
    at_once = jax.jit(gradient)(cell, begin, batch, lengths)
    step, carry, parts, size = jax.jit(gradient), begin, [], stride or window
    for start in range(0, 15, size):
        here = jax.tree.map(lambda leaf, t=start: leaf[t : t + size], batch)
        parts.append(step(cell, carry, here, np.clip(lengths - start, 0, size)))
        carry = parts[-1].carry
    summed = jax.tree.map(lambda *leaves: sum(leaves), *(part[:3] for part in parts))
    agree(summed, at_once[:3])
    agree(jnp.concatenate([part.norms for part in parts]), at_once.norms)
    agree(carry, at_once.carry, padded=True)


@pytest.mark.parametrize("name", [slow("LSTM"), slow("MGU"), "LRU"])
def test_detach_cuts_at_the_same_places(name):
    cell, state, batch, lengths = setting(name, 11)
    truncated = jax.jit(training.TruncatedBPTT(loss, window=3))(cell, state, batch, lengths)
    cut = functools.partial(loss, method=seqmem.Scan(transform=gradients.Detach(3)))
    detached = jax.jit(jax.grad(lambda cell: cut(cell, state, batch, lengths)[0]))(cell)
    agree(truncated.grads, detached)


@pytest.mark.parametrize(("window", "stride"), [(4, None), slow(4, 2)])
def test_norms_are_those_of_each_stride_alone(window, stride):
    cell, state, batch, lengths = setting("LSTM", 8)
    gradient = training.TruncatedBPTT(loss, window, stride, flow=True)
    found = jax.jit(gradient)(cell, gradient.begin(state, batch, lengths), batch, lengths)
    without = jax.jit(training.TruncatedBPTT(loss, window, stride))
    agree(without(cell, gradient.begin(state, batch, lengths), batch, lengths)[:3], found[:3])
    want, size = [], stride or window

    def own(cell, state, here, valid, perturbations):
        total, _, after = loss(cell, state, here, valid, perturbations=perturbations)
        return total, after

    for start in range(0, 8, size):
        here = jax.tree.map(lambda leaf, t=start: leaf[t : t + size], batch)
        valid = np.clip(lengths - start, 0, size)
        measure = jax.jit(gradients.value_grad_and_flow(own, has_aux=True))
        (_, state), _, flow = measure(cell, state, here, valid)
        want.append(flow.norm())
    agree(found.norms, np.concatenate(want))
    agree(found.mean_norms, np.concatenate(want) / lengths.sum())


def test_norms_of_several_cells_have_their_names():
    cells = {"low": CELLS["GRU"](), "high": seqmem.MGU(5, 5, key=jax.random.key(1))}
    batch = batch_for(cells["low"], 7)

    def both(cells, state, batch, perturbations):
        xs = batch["xs"]
        low, xs = seqmem.unroll(cells["low"], state["low"], xs, perturbations=perturbations["low"])
        high, ys = seqmem.unroll(cells["high"], state["high"], xs, perturbations=perturbations["high"])
        return jnp.sum(ys**2), ys.size, {"low": low, "high": high}

    state = {name: state_for(cell) for name, cell in cells.items()}
    found = jax.jit(training.TruncatedBPTT(both, window=3, flow=True))(cells, state, batch)
    assert {name: norms.shape for name, norms in found.norms.items()} == {
        "low": (7, 3),
        "high": (7, 3),
    }
    assert all((norms > 0).all() for norms in found.norms.values())


def test_a_burnt_in_state_is_held_fixed():
    cell, state, batch, lengths = setting("GRU", 11)
    burnt = training.TruncatedBPTT(training.with_burn_in(loss, 4), window=11)
    found = jax.jit(burnt)(cell, state, batch, lengths)

    def cut(leaf, start, end):
        return leaf[start:end]

    first = jax.tree.map(functools.partial(cut, start=0, end=4), batch)
    rest = jax.tree.map(functools.partial(cut, start=4, end=11), batch)
    _, _, before = loss(cell, state, first, np.clip(lengths, 0, 4))
    after = np.clip(lengths - 4, 0, 7)
    want = jax.jit(jax.value_and_grad(lambda cell: loss(cell, before, rest, after)[0]))(cell)
    agree((found.total, found.grads), want)
    assert float(found.weight) == after.sum()


def test_sixteen_bit_parameters_are_summed_over_windows_in_thirty_two():
    # 2¹¹ equal terms: in bfloat16 a sum of ones stays at 256.
    with jax.enable_x64(False):
        cell = jax.tree.map(lambda leaf: jnp.zeros_like(leaf, jnp.bfloat16), CELLS["RNN"]())

        def total(cell, state, xs):
            state, ys = seqmem.unroll(cell, state, xs)
            return jnp.sum(ys), ys.size, state

        found = jax.jit(training.TruncatedBPTT(total, window=1))(
            cell, jnp.zeros(5), jnp.ones((2048, 2))
        )
        np.testing.assert_array_equal(found.grads.b.astype(jnp.float32), np.full(5, 2048.0))


def returning(*returned):
    return lambda cell, state, batch: returned if len(returned) > 1 else returned[0]


def number(dtype, *shape):
    return jnp.ones(shape, dtype)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: training.TruncatedBPTT(loss, 0), "window=0"),
        (lambda: training.TruncatedBPTT(loss, 2.5), "a whole number"),
        (lambda: training.TruncatedBPTT(loss, 3, 0), "stride=0"),
        (lambda: training.TruncatedBPTT(loss, 3, 5), "at most the window"),
        (lambda: training.TruncatedBPTT(loss, 5, 3), "divides it"),
        (lambda: training.with_burn_in(loss, 0), "at least 1"),
        (lambda: called(training.TruncatedBPTT(training.with_burn_in(loss, 8), 8)), "than its burn-in"),
        (lambda: called(training.TruncatedBPTT(loss, 6, 3), 8), "multiple of the stride"),
        (lambda: called(training.TruncatedBPTT(loss, 9, 3), 2), "at least 3"),
        (lambda: called(training.TruncatedBPTT(loss, 8), 0), "0 steps of time"),
        (lambda: called(training.TruncatedBPTT(returning(1.0, None), 8)), "a tuple of 2"),
        (
            lambda: called(training.TruncatedBPTT(returning(number(float, 3), 1, None), 8)),
            "one real number",
        ),
        (
            lambda: called(training.TruncatedBPTT(returning(number(jnp.bfloat16), 1, None), 8)),
            "bfloat16",
        ),
        (
            lambda: called(training.TruncatedBPTT(returning(number(float), number(float, 3), None), 8)),
            "weight",
        ),
        (lambda: called(training.TruncatedBPTT(loss, 3), state=number(float, 5)), "tree, shapes"),
        (lambda: called(training.TruncatedBPTT(loss, 3), lengths=np.ones(3)), "integers"),
        (lambda: called(training.TruncatedBPTT(loss, 3), share=draw(2, 7, 3)), "all of the same time"),
    ],
)
def test_what_does_not_fit_is_refused(wrong, sentence):
    with pytest.raises(ValueError, match=rf"(?s){sentence}.*What to do: "):
        wrong()


def called(gradient, time=8, state=None, lengths=None, **changed):
    cell = CELLS["GRU"]()
    batch = jax.tree.map(lambda leaf: leaf[:time], batch_for(cell, 8)) | changed
    state = state_for(cell) if state is None else state
    return gradient(cell, gradient.begin(state, batch, lengths), batch, lengths)
