"""Window cells: what they compute, what they see, and what they refuse."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.helpers.slow import slow
from tests.helpers.windows import KEY, TIME, close, in_float64, normal

import seqmem
from seqmem.testing import LawBroken, check_cell

BATCH = 3
AUTODIFF = seqmem.ReferenceScan()
CELLS = {
    "conv": lambda: seqmem.CausalConv(2, 5, 3, dilation=2, key=KEY),
    "depthwise": lambda: seqmem.DepthwiseConv(2, 5, key=KEY),
    "attention": lambda: seqmem.SlidingWindowAttention(4, num_heads=2, window=5, key=KEY),
    "attention, ALiBi": lambda: seqmem.SlidingWindowAttention(
        6, num_heads=6, window=5, num_key_value_heads=3, positions=seqmem.ALiBi(), key=KEY
    ),
}
every_cell = pytest.mark.parametrize("name", CELLS)
float64 = pytest.mark.usefixtures("float64")


def reached(cell, *batch):
    """The state after two inputs: not all of a window is there."""
    return seqmem.unroll(cell, cell.init_state(), normal(2, *batch, cell.input_size))[0]


@pytest.mark.parametrize(
    ("time", "reverse"),
    [(1, False), slow(4, True), slow(5, False), slow(6, True), (TIME, False), (TIME, True)],
)
@float64
@every_cell
def test_all_steps_at_once_are_one_after_another_at_any_length(name, time, reverse):
    cell = seqmem.with_learned_state(CELLS[name]())
    cell = in_float64(cell)
    xs, state = normal(time, BATCH, cell.input_size), reached(cell, BATCH)
    lengths = np.array([time, time // 2, 0])
    resets = np.random.default_rng(1).random((time, BATCH)) < 0.3

    def compute(method):
        def loss(cell, state, xs):
            out = seqmem.unroll(
                cell, state, xs, lengths=lengths, resets=resets, reverse=reverse, method=method
            )
            return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(out)), out

        return jax.grad(loss, (0, 1, 2), has_aux=True)(cell, state, xs)

    close(compute(None), compute(AUTODIFF))


@float64
@every_cell
def test_a_stream_in_pieces_of_any_size_is_the_whole(name):
    cell = in_float64(CELLS[name]())
    xs = normal(TIME, BATCH, cell.input_size)
    whole = seqmem.unroll(cell, cell.init_state(), xs)
    state, ys = cell.init_state(), []
    for piece in np.split(xs, np.cumsum([1, 2, 0, 3, 7, 1, 4])):
        state, own = seqmem.unroll(cell, state, piece)
        ys.append(own)
    close((state, jnp.concatenate(ys)), whole)


@float64
@every_cell
def test_batch_axes_are_examples_and_may_be_none_or_many(name):
    cell = in_float64(CELLS[name]())
    xs = normal(TIME, BATCH, 2, cell.input_size)
    state, ys = seqmem.unroll(cell, cell.init_state(), xs)
    alone, own = seqmem.unroll(cell, cell.init_state(), xs[:, 2, 1])
    close((jax.tree.map(lambda leaf: leaf[2, 1], state), ys[:, 2, 1]), (alone, own))


@float64
@every_cell
def test_the_state_is_what_entered_last(name):
    cell = in_float64(CELLS[name]())
    xs, lengths = normal(TIME, BATCH, cell.input_size), np.array([TIME, 11, 2])
    state, _ = seqmem.unroll(cell, cell.init_state(), xs, lengths=lengths)
    for example, length in enumerate(lengths):
        entries = [cell.project(x)[0] for x in xs[:length, example]]
        window = jax.tree.map(
            lambda init, *leaves: jnp.concatenate([init, jnp.stack(leaves)])[-len(init) :],
            cell.init_state(),
            *entries,
        )
        close(jax.tree.map(lambda leaf, e=example: leaf[e], state), window)


@float64
@every_cell
def test_nothing_is_seen_across_a_reset(name):
    cell = in_float64(CELLS[name]())
    xs = normal(TIME, cell.input_size)
    for at in (0, 4, TIME - 1):
        resets = np.arange(TIME) == at
        state, ys = seqmem.unroll(cell, reached(cell), xs, resets=resets)
        begun, later = seqmem.unroll(cell, cell.init_state(), xs[at:])
        close((state, ys[at:]), (begun, later))


@every_cell
@pytest.mark.parametrize("method", [None, AUTODIFF], ids=repr)
def test_nan_is_seen_as_long_as_it_is_in_the_window(name, method):
    cell, at = CELLS[name](), 7
    size = len(jax.tree.leaves(cell.init_state())[0])
    xs = normal(TIME, cell.input_size).at[at].set(jnp.nan)
    _, ys = seqmem.unroll(cell, cell.init_state(), xs, method=method)
    found = np.isnan(ys).any(-1).tolist()
    taps = range(0, size, getattr(cell, "dilation", 1))
    assert [t for t in range(TIME) if found[t]] == [at + back for back in taps]
    resets = np.arange(TIME) == at + 1
    _, ys = seqmem.unroll(cell, cell.init_state(), xs, resets=resets, method=method)
    assert np.isnan(ys).any(-1).nonzero()[0].tolist() == [at]


@every_cell
def test_a_window_runs_at_once_without_being_told(name):
    cell = CELLS[name]()
    xs, resets = normal(TIME, cell.input_size), jnp.zeros(TIME, bool).at[4].set(True)
    run = jax.jit(lambda xs: seqmem.unroll(cell, cell.init_state(), xs, resets=resets))
    text = str(jax.make_jaxpr(jax.grad(lambda xs: run(xs)[1].sum()))(xs))
    assert "scan[" not in text
    assert "while[" not in text


def test_a_convolution_is_numpys():
    conv = seqmem.CausalConv(1, 1, 4, key=KEY)
    depthwise = seqmem.DepthwiseConv(1, 4, key=KEY)
    x = np.asarray(normal(TIME))
    for cell, w in ((conv, conv.W), (depthwise, depthwise.w)):
        _, ys = seqmem.unroll(cell, cell.init_state(), x[:, None])
        np.testing.assert_allclose(ys[:, 0], np.convolve(x, np.ravel(w))[:TIME], atol=1e-6)


def test_a_convolution_is_one_convolution():
    cell = CELLS["conv"]()
    xs = normal(TIME, BATCH, 2)
    text = str(jax.make_jaxpr(lambda xs: seqmem.unroll(cell, cell.init_state(), xs))(xs))
    assert text.count("conv_general_dilated[") == 1


REFUSED = {
    "a window of nothing": (
        lambda: seqmem.SlidingWindowAttention(4, num_heads=2, window=0, key=KEY),
        "window=0.*at least 1.*number of inputs",
    ),
    "heads that do not divide": (
        lambda: seqmem.SlidingWindowAttention(4, num_heads=3, window=5, key=KEY),
        "3 heads for a size of 4.*divide evenly.*divides the size",
    ),
    "heads that cannot be grouped": (
        lambda: seqmem.SlidingWindowAttention(
            12, num_heads=6, window=5, num_key_value_heads=4, key=KEY
        ),
        "num_key_value_heads=4.*divisor of num_heads.*that divides num_heads",
    ),
    "odd heads that are turned": (
        lambda: seqmem.SlidingWindowAttention(6, num_heads=2, window=5, key=KEY),
        "heads of 3 entries.*even number.*ALiBi",
    ),
    "no dilation": (
        lambda: seqmem.CausalConv(2, 3, 2, dilation=0, key=KEY),
        "dilation=0.*at least one step.*leave the dilation out",
    ),
    "no tap": (lambda: seqmem.CausalConv(2, 3, 0, key=KEY), "width=0.*at least one tap.*x_t alone"),
    "no tap of each": (
        lambda: seqmem.DepthwiseConv(2, 0, key=KEY),
        "width=0.*at least one tap.*scales",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused_in_three_parts(what):
    make, words = REFUSED[what]
    came, expected, _ = words.split(".*")
    with pytest.raises(ValueError, match=re.compile(words, re.S)) as refused:
        make()
    lines = str(refused.value).splitlines()
    assert came in lines[0]
    assert expected in lines[1]
    assert lines[1].startswith("  Expected: ")
    assert lines[2].startswith("  What to do: ")


class SeesAcrossResets(seqmem.CausalConv):
    def readout_sequence(self, past, u):
        return super().readout_sequence(past._replace(steps_since_reset=None), u)


class SeesTheNext(seqmem.CausalConv):
    def readout_sequence(self, past, u):
        ys = super().readout_sequence(past, u)
        return ys + jnp.roll(ys, -1, 0)


class KeepsTheOldest(seqmem.DepthwiseConv):
    def update(self, window, u):
        return jnp.concatenate([window[:1], super().update(window, u)[1:]])


@pytest.mark.parametrize("cell_type", [SeesAcrossResets, SeesTheNext, KeepsTheOldest])
def test_a_window_that_breaks_its_promise_is_caught(cell_type):
    sizes = (2,) if cell_type is KeepsTheOldest else (2, 5)
    words = "readout_sequence" if cell_type is not KeepsTheOldest else "loses its oldest entry"
    with pytest.raises(LawBroken, match=words) as broken:
        check_cell(cell_type(*sizes, 3, key=KEY), methods=[AUTODIFF])
    assert broken.value.law == "promise"
