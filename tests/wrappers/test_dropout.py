"""Dropout that is drawn outside of the loop: of inputs, of states, of weights; and zoneout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.helpers.slow import slow_but

import seqmem
from seqmem import (
    with_input_dropout,
    with_weight_dropout,
    with_variational_dropout,
    with_zoneout,
)
from seqmem._testing.check import family_methods

OWN, DRAW = jax.random.split(jax.random.key(0))
TIME, BATCH, INPUT, HIDDEN = 7, 3, 2, 5
RATE = 0.5


def zoned(cell):
    """A cell with zoneout, and one of its inputs."""
    kept = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), cell.init_state())
    return with_zoneout(cell), (jnp.zeros(INPUT), kept)


def alone(cell):
    return cell, jnp.zeros(INPUT)


# a cell and one of its inputs; masks of one example, so that steps see them too
CELLS = {
    "RNN with_variational_dropout": lambda: alone(
        with_variational_dropout(seqmem.RNN(INPUT, HIDDEN, key=OWN), RATE, (), key=DRAW)
    ),
    "LSTM with_variational_dropout": lambda: alone(
        with_variational_dropout(seqmem.LSTM(INPUT, HIDDEN, key=OWN), RATE, (), key=DRAW)
    ),
    "MinGRU with_input_dropout": lambda: alone(
        with_input_dropout(seqmem.MinGRU(INPUT, HIDDEN, key=OWN), RATE, (), key=DRAW)
    ),
    "CausalConv with_input_dropout": lambda: alone(
        with_input_dropout(seqmem.CausalConv(INPUT, 3, width=2, key=OWN), RATE, (), key=DRAW)
    ),
    "LSTM with_zoneout": lambda: zoned(seqmem.LSTM(INPUT, HIDDEN, key=OWN)),
    "LRU with_zoneout": lambda: zoned(seqmem.LRU(INPUT, HIDDEN, key=OWN)),
    "CausalConv with_zoneout": lambda: zoned(seqmem.CausalConv(INPUT, 3, width=2, key=OWN)),
}
QUICK = next(iter(CELLS))
GATED = {
    "RNN": seqmem.RNN,
    "LSTM": seqmem.LSTM,
    "PeepholeLSTM": seqmem.PeepholeLSTM,
    "GRU": seqmem.GRU,
    "IndRNN": seqmem.IndRNN,
    "SLSTM": seqmem.SLSTM,
    "ProjectedLSTM": lambda *sizes, key: seqmem.ProjectedLSTM(*sizes, 3, key=key),
}


def normal(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def in_float64(tree):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float64), tree)


@pytest.mark.parametrize("name", slow_but({QUICK}, CELLS))
def test_what_is_drawn_outside_keeps_every_law(name):
    """On the first method of its family: the others know nothing of what was changed."""
    cell, x = CELLS[name]()
    report = seqmem.testing.check_cell(cell, x, methods=[family_methods(cell)[0]])
    assert set(report.values()) == {"holds"}


def is_part(node):
    return isinstance(node, seqmem.PerExample)


def own_of(cell, example):
    """The cell as one example has it."""

    def bare(node):
        return jax.tree.map(lambda leaf: leaf[example], node.value) if is_part(node) else node

    return jax.tree.map(bare, cell, is_leaf=is_part)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("change", [with_input_dropout, with_variational_dropout])
def test_every_sequence_has_a_draw_of_its_own_that_steps_and_resets_keep(change):
    cell = in_float64(change(seqmem.LSTM(INPUT, HIDDEN, key=OWN), RATE, (BATCH,), key=DRAW))
    xs, resets = normal(TIME, BATCH, INPUT), np.arange(TIME) == 3
    resets = np.broadcast_to(resets[:, None], (TIME, BATCH))
    _, ys = seqmem.unroll(cell, cell.init_state(), xs, resets=resets)
    for example in range(BATCH):
        own = own_of(cell, example)
        for part in (slice(None, 3), slice(3, None)):
            state = own.init_state()
            for t in range(TIME)[part]:
                state, y = own(state, jnp.asarray(xs[t, example]))
                np.testing.assert_allclose(ys[t, example], y, rtol=1e-12)
    masks = np.asarray(jax.tree.leaves(cell.modifier)[0])
    assert not (masks[0] == masks).all()
    assert set(np.unique(masks)) == {0, 1 / (1 - RATE)}


def test_dropped_inputs_are_inputs_times_the_mask():
    cell = seqmem.LRU(INPUT, HIDDEN, key=OWN)
    dropped = with_input_dropout(cell, RATE, (BATCH,), key=DRAW)
    mask, xs = dropped.modifier.mask.value, jnp.asarray(normal(TIME, BATCH, INPUT), jnp.float32)
    got = seqmem.unroll(dropped, cell.init_state(), xs)
    for one, other in zip(
        jax.tree.leaves(got),
        jax.tree.leaves(seqmem.unroll(cell, cell.init_state(), mask * xs)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def lstm_by_hand(cell, xs, masks, kept):
    """Gal & Ghahramani's mask on what the gates see, Krueger et al.'s on what is kept."""
    W, U, b = (np.asarray(leaf) for leaf in (cell.W, cell.U, cell.b))
    h = c = np.zeros(HIDDEN)
    hs = []
    for x, k_h, k_c in zip(xs, kept.h, kept.c, strict=True):
        i, f, g, o = W @ x + U @ (masks * h) + b
        new = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = k_h * h + (1 - k_h) * sigmoid(o) * np.tanh(new)
        c = k_c * c + (1 - k_c) * new
        hs.append(h)
    return np.stack(hs)


@pytest.mark.usefixtures("float64")
def test_variational_dropout_is_that_of_its_paper():
    cell = in_float64(seqmem.LSTM(INPUT, HIDDEN, key=OWN))
    dropped = with_variational_dropout(cell, RATE, (), key=DRAW)
    assert isinstance(dropped, seqmem.AbstractGatedCell)
    xs, none = normal(TIME, INPUT), np.zeros((TIME, HIDDEN))
    masks = np.asarray(dropped.modifier.masks.h)
    assert masks.any()
    assert not masks.all()
    want = lstm_by_hand(cell, xs, masks, type(cell.init_state())(none, none))
    _, hs = seqmem.unroll(dropped, cell.init_state(), xs)
    np.testing.assert_allclose(hs, want, rtol=0, atol=1e-13)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("drawn", [True, False])
def test_zoneout_is_that_of_its_paper_in_training_and_in_testing(drawn):
    cell = in_float64(seqmem.LSTM(INPUT, HIDDEN, key=OWN))
    xs, rates = normal(TIME, INPUT), type(cell.init_state())(h=0.3, c=0.6)
    rng = np.random.default_rng(0)

    def at_rate(rate):
        shape = (TIME, HIDDEN)
        return (rng.random(shape) < rate).astype(float) if drawn else np.full(shape, rate)

    kept = jax.tree.map(at_rate, rates)
    want = lstm_by_hand(cell, xs, np.ones(HIDDEN), kept)
    _, hs = seqmem.unroll(with_zoneout(cell), cell.init_state(), (xs, kept))
    np.testing.assert_allclose(hs, want, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("cell", "family", "stays"),
    [
        (seqmem.GRU(INPUT, HIDDEN, key=OWN), seqmem.AbstractGatedCell, True),
        (seqmem.LRU(INPUT, HIDDEN, key=OWN), seqmem.AbstractDiagonalCell, True),
        (seqmem.DeltaRule(INPUT, 6, num_heads=3, key=OWN), seqmem.AbstractFastWeightCell, False),
        (seqmem.CausalConv(INPUT, 3, width=2, key=OWN), seqmem.AbstractWindowCell, False),
    ],
)
def test_a_zoned_cell_stays_of_its_family_where_the_promise_holds(cell, family, stays):
    assert isinstance(with_zoneout(cell), family) == stays
    assert isinstance(with_input_dropout(cell, RATE, (), key=DRAW), family)


@pytest.mark.parametrize("name", [*GATED, "MGU", "ResetBeforeGRU"])
def test_recurrent_weights_are_dropped_and_no_others(name):
    make = GATED.get(name) or getattr(seqmem, name)
    cell = make(INPUT, HIDDEN, key=OWN)
    recurrent = "u" if name == "IndRNN" else "U"
    dropped = with_weight_dropout(cell, 0.75, key=DRAW)
    for (path, own), leaf in zip(
        jax.tree.leaves_with_path(cell), jax.tree.leaves(dropped), strict=True
    ):
        if jax.tree_util.keystr(path) == f".{recurrent}":
            kept = np.asarray(leaf) != 0
            assert 0 < kept.sum() < kept.size
            np.testing.assert_allclose(leaf, np.where(kept, 4 * own, 0), rtol=1e-6)
        else:
            np.testing.assert_array_equal(leaf, own)


def test_weights_are_dropped_within_a_modified_cell_and_learn_where_they_are_not():
    cell = seqmem.with_states(seqmem.GRU(INPUT, HIDDEN, key=OWN))
    xs = jnp.asarray(normal(TIME, INPUT), jnp.float32)

    def loss(cell):
        own = with_weight_dropout(cell, RATE, key=DRAW)
        return seqmem.unroll(own, own.init_state(), xs)[1][0].sum()

    kept = with_weight_dropout(cell, RATE, key=DRAW).cell.U != 0
    np.testing.assert_array_equal(jax.grad(loss)(cell).cell.U != 0, kept)


def test_a_stack_drops_the_inputs_of_its_first_cell():
    stack = seqmem.blocks.gla_block(INPUT, 6, num_heads=3, key_size=3, rank=5, key=OWN)
    dropped = with_input_dropout(stack, RATE, (BATCH,), key=DRAW)
    assert isinstance(dropped, seqmem.layers.Stack)
    assert isinstance(dropped.cells[0], seqmem.AbstractFastWeightCell)
    xs = jnp.asarray(normal(TIME, BATCH, INPUT), jnp.float32)
    mask = dropped.cells[0].modifier.mask.value
    _, ys = seqmem.unroll(dropped, dropped.init_state(), xs)
    _, want = seqmem.unroll(stack, stack.init_state(), mask * xs)
    np.testing.assert_allclose(ys, want, rtol=1e-5, atol=1e-6)


def test_the_gates_of_a_cell_that_sees_another_state_are_refused():
    cell = seqmem.GRU(INPUT, HIDDEN, key=OWN)
    dropped = with_variational_dropout(cell, RATE, (), key=DRAW)
    state = cell.init_state()
    with pytest.raises(ValueError, match=r"gates of a GRU with.*\n.*those of its class"):
        seqmem.dynamics.gate_values(dropped, state, dropped.project(jnp.ones(INPUT)))


GRU, MIN_GRU = seqmem.GRU(INPUT, HIDDEN, key=OWN), seqmem.MinGRU(INPUT, HIDDEN, key=OWN)


@pytest.mark.parametrize(
    ("call", "came"),
    [
        (lambda: with_input_dropout(GRU, 1.0, (), key=DRAW), r"with_input_dropout got rate=1.0"),
        (lambda: with_weight_dropout(GRU, -0.1, key=DRAW), r"with_weight_dropout got rate=-0.1"),
        (lambda: with_variational_dropout(GRU, 2, (), key=DRAW), r"dropout got rate=2"),
        (
            lambda: with_input_dropout(zoned(GRU)[0], RATE, (), key=DRAW),
            r"input_axes=\(1, 1\) and input_size=2",
        ),
        (lambda: with_variational_dropout(MIN_GRU, RATE, (), key=DRAW), r"got a MinGRU"),
        (lambda: with_weight_dropout(MIN_GRU, RATE, key=DRAW), r"got a MinGRU"),
        (lambda: seqmem.with_layer_norm(MIN_GRU), r"with_layer_norm got a MinGRU"),
    ],
)
def test_what_does_not_fit_is_refused(call, came):
    with pytest.raises(ValueError, match=rf"{came}(?s:.+)\n  Expected: .+\n  What to do: .+"):
        call()
