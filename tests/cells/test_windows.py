"""Window cells: all steps at once against step by step, resets, windows, refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.testing import LawBroken, check_cell
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow
from tests.helpers.windows import KEY, TIME, close, in_float64, normal

BATCH = 3
AUTODIFF = seqmem.ReferenceScan()
CELLS = {
    "conv": lambda: seqmem.CausalConv(2, 5, width=3, dilation=2, key=KEY),
    "depthwise": lambda: seqmem.DepthwiseConv(2, width=5, key=KEY),
    "attention": lambda: seqmem.SlidingWindowAttention(4, num_heads=2, window=5, key=KEY),
    "attention, ALiBi": lambda: seqmem.SlidingWindowAttention(
        6, num_heads=6, window=5, num_key_value_heads=3, positions=seqmem.ALiBi(), key=KEY
    ),
}
every_cell = pytest.mark.parametrize("name", CELLS)
float64 = pytest.mark.usefixtures("float64")


unroll = jax.jit(seqmem.unroll, static_argnames=("method", "reverse"))


def state_after_two(cell, *batch):
    """The state after two inputs: the window is not full."""
    return unroll(cell, None, normal(2, *batch, *cell.input_shape))[0]


@pytest.mark.parametrize(
    ("time", "reverse"),
    [slow(1, False), slow(4, True), slow(5, False), slow(6, True), slow(TIME, False), (TIME, True)],
)
@float64
@every_cell
def test_window_cell_at_once_matches_step_by_step_at_any_length(name, time, reverse):
    cell = seqmem.with_learned_state(CELLS[name]())
    cell = in_float64(cell)
    xs, state = normal(time, BATCH, *cell.input_shape), state_after_two(cell, BATCH)
    lengths = np.array([time, time // 2, 0])
    resets = np.random.default_rng(1).random((time, BATCH)) < 0.3

    @functools.partial(jax.jit, static_argnums=0)
    def compute(method):
        def loss(cell, state, xs):
            out = unroll(
                cell, state, xs, lengths=lengths, resets=resets, reverse=reverse, method=method
            )
            return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(out)), out

        return jax.grad(loss, (0, 1, 2), has_aux=True)(cell, state, xs)

    close(compute(None), compute(AUTODIFF))


@float64
@every_cell
def test_window_state_carries_over_pieces_of_any_length(name):
    cell = in_float64(CELLS[name]())
    xs = normal(TIME, BATCH, *cell.input_shape)
    expected = unroll(cell, cell.init_state(), xs)
    state, ys = cell.init_state(), []
    for piece in np.split(xs, np.cumsum([1, 2, 0, 3, 7, 1, 4])):
        state, outputs = unroll(cell, state, piece)
        ys.append(outputs)
    close((state, jnp.concatenate(ys)), expected)


@pytest.mark.slow
@float64
@every_cell
def test_window_cell_treats_any_number_of_batch_axes_as_examples(name):
    cell = in_float64(CELLS[name]())
    xs = normal(TIME, BATCH, 2, *cell.input_shape)
    state, ys = unroll(cell, cell.init_state(), xs)
    one_state, one_ys = unroll(cell, cell.init_state(), xs[:, 2, 1])
    close((jax.tree.map(lambda leaf: leaf[2, 1], state), ys[:, 2, 1]), (one_state, one_ys))


@float64
@every_cell
def test_window_state_is_the_last_valid_entries(name):
    cell = in_float64(CELLS[name]())
    xs, lengths = normal(TIME, BATCH, *cell.input_shape), np.array([TIME, 11, 2])
    project = jax.jit(lambda cell, x: cell.project(x))
    state, _ = unroll(cell, cell.init_state(), xs, lengths=lengths)
    for example, length in enumerate(lengths):
        entries = [project(cell, x)[0] for x in xs[:length, example]]
        window = jax.tree.map(
            lambda init, *leaves: jnp.concatenate([init, jnp.stack(leaves)])[-len(init) :],
            cell.init_state(),
            *entries,
        )
        close(jax.tree.map(lambda leaf, e=example: leaf[e], state), window)


@float64
@every_cell
def test_window_reset_hides_earlier_entries(name):
    cell = in_float64(CELLS[name]())
    xs = normal(TIME, *cell.input_shape)
    for at in (0, 4, TIME - 1):
        resets = np.arange(TIME) == at
        state, ys = unroll(cell, state_after_two(cell), xs, resets=resets)
        expected_state, expected = unroll(cell, None, xs[at:])
        close((state, ys[at:]), (expected_state, expected))


@every_cell
@pytest.mark.parametrize("method", [None, AUTODIFF], ids=repr)
def test_nan_reaches_the_outputs_whose_window_has_it_and_no_others(name, method):
    cell, at = CELLS[name](), 7
    size = len(jax.tree.leaves(cell.init_state())[0])
    xs = normal(TIME, *cell.input_shape).at[at].set(jnp.nan)
    _, ys = unroll(cell, cell.init_state(), xs, method=method)
    is_nan = np.isnan(ys).any(-1)
    taps = range(0, size, getattr(cell, "dilation", 1))
    assert is_nan.nonzero()[0].tolist() == [at + steps for steps in taps]
    resets = np.arange(TIME) == at + 1
    _, ys = unroll(cell, cell.init_state(), xs, resets=resets, method=method)
    assert np.isnan(ys).any(-1).nonzero()[0].tolist() == [at]


@every_cell
def test_window_cell_has_no_loop_by_default(name):
    cell = CELLS[name]()
    xs, resets = normal(TIME, *cell.input_shape), jnp.zeros(TIME, bool).at[4].set(True)
    run = jax.jit(lambda xs: seqmem.unroll(cell, cell.init_state(), xs, resets=resets))
    text = str(jax.make_jaxpr(jax.grad(lambda xs: run(xs)[1].sum()))(xs))
    assert "scan[" not in text
    assert "while[" not in text


def test_convolutions_match_numpy():
    conv = seqmem.CausalConv(1, 1, width=4, key=KEY)
    depthwise = seqmem.DepthwiseConv(1, width=4, key=KEY)
    x = np.asarray(normal(TIME))
    for cell, w in ((conv, conv.W), (depthwise, depthwise.w)):
        _, ys = unroll(cell, cell.init_state(), x[:, None])
        np.testing.assert_allclose(ys[:, 0], np.convolve(x, np.ravel(w))[:TIME], atol=1e-6)


def test_causal_conv_is_one_convolution_of_xla():
    cell = CELLS["conv"]()
    xs = normal(TIME, BATCH, 2)
    text = str(jax.make_jaxpr(lambda xs: seqmem.unroll(cell, cell.init_state(), xs))(xs))
    assert text.count("conv_general_dilated[") == 1


@float64
@pytest.mark.parametrize("positions", [seqmem.RoPE(), seqmem.ALiBi()], ids=repr)
def test_attention_sees_its_initial_window_for_the_first_steps_after_a_reset(positions):
    """The initial window is the state after n inputs, so that a run after a reset is the run of
    these inputs and the sequence's, without any reset.
    """
    window = 5
    cell = seqmem.SlidingWindowAttention(
        4, num_heads=2, window=window, positions=positions, key=KEY
    )
    cell = in_float64(cell)
    init = unroll(cell, None, normal(window, 4))[0]
    cell = seqmem.with_learned_state(cell, init)
    xs, resets = normal(TIME, 4), np.isin(np.arange(TIME), [0, 3, 11])
    for method in (None, AUTODIFF):
        _, ys = unroll(cell, None, xs, resets=resets, method=method)
        for start, end in ((0, 3), (3, 11), (11, TIME)):
            inputs = jnp.concatenate([normal(window, 4), xs[start:end]])
            expected = unroll(cell.cell, None, inputs, method=AUTODIFF)[1][window:]
            close(ys[start:end], expected)


REFUSED = {
    "window=0": lambda: seqmem.SlidingWindowAttention(4, num_heads=2, window=0, key=KEY),
    "num_heads=2.0": lambda: seqmem.SlidingWindowAttention(4, num_heads=2.0, window=3, key=KEY),
    "3 heads for a size of 4": lambda: seqmem.SlidingWindowAttention(
        4, num_heads=3, window=5, key=KEY
    ),
    "num_key_value_heads=4 for num_heads=6": lambda: seqmem.SlidingWindowAttention(
        12, num_heads=6, window=5, num_key_value_heads=4, key=KEY
    ),
    "dilation=0": lambda: seqmem.CausalConv(2, 3, width=2, dilation=0, key=KEY),
    "width=0": lambda: seqmem.CausalConv(2, 3, width=0, key=KEY),
    "output_size=3.0": lambda: seqmem.CausalConv(2, 3.0, width=2, key=KEY),
    "width=None": lambda: seqmem.DepthwiseConv(2, width=None, key=KEY),
    "size=0": lambda: seqmem.DepthwiseConv(0, width=2, key=KEY),
}


@pytest.mark.parametrize("came", REFUSED)
def test_window_cell_refuses_sizes_that_do_not_fit(came):
    assert f"got {came}" in assert_refused("", REFUSED[came])


def test_rope_refuses_heads_of_odd_size():
    make = functools.partial(seqmem.SlidingWindowAttention, 6, num_heads=2, window=5, key=KEY)
    assert_refused("RoPE for heads of 3 features.", make)
    make(positions=None)


class SeesAcrossResets(seqmem.CausalConv):
    def readout_sequence(self, history, u):
        return super().readout_sequence(history._replace(steps_since_reset=None), u)


class SeesTheNext(seqmem.CausalConv):
    def readout_sequence(self, history, u):
        ys = super().readout_sequence(history, u)
        return ys + jnp.roll(ys, -1, 0)


class KeepsTheOldest(seqmem.DepthwiseConv):
    def update(self, window, u):
        return jnp.concatenate([window[:1], super().update(window, u)[1:]])


@pytest.mark.parametrize("cell_type", [slow(SeesAcrossResets), SeesTheNext, slow(KeepsTheOldest)])
def test_check_cell_catches_a_broken_window_promise(cell_type):
    sizes = (2,) if cell_type is KeepsTheOldest else (2, 5)
    words = "readout_sequence" if cell_type is not KeepsTheOldest else "loses its oldest entry"
    with pytest.raises(LawBroken, match=words) as broken:
        check_cell(cell_type(*sizes, width=3, key=KEY), methods=[AUTODIFF])
    assert broken.value.law == "promise"
