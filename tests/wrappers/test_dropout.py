"""Dropout of inputs, of recurrent input and of recurrent weights, and zoneout."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import (
    with_input_dropout,
    with_variational_dropout,
    with_weight_dropout,
    with_zoneout,
)
from seqmem._testing.check import family_methods
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow_but

KEY, MASK_KEY = jax.random.split(jax.random.key(0))
TIME, BATCH, INPUT, HIDDEN = 7, 3, 2, 5
RATE = 0.5


def zoneout_case(cell):
    """A cell with zoneout, and one of its inputs."""
    masks = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), cell.init_state())
    return with_zoneout(cell), (jnp.zeros(INPUT), masks)


def dropout_case(cell):
    return cell, jnp.zeros(INPUT)


# a cell and one of its inputs; without batch axes, so that single steps have the mask too
CELLS = {
    "RNN with_variational_dropout": lambda: dropout_case(
        with_variational_dropout(seqmem.RNN(INPUT, HIDDEN, key=KEY), RATE, (), key=MASK_KEY)
    ),
    "LSTM with_variational_dropout": lambda: dropout_case(
        with_variational_dropout(seqmem.LSTM(INPUT, HIDDEN, key=KEY), RATE, (), key=MASK_KEY)
    ),
    "MinGRU with_input_dropout": lambda: dropout_case(
        with_input_dropout(seqmem.MinGRU(INPUT, HIDDEN, key=KEY), RATE, (), key=MASK_KEY)
    ),
    "CausalConv with_input_dropout": lambda: dropout_case(
        with_input_dropout(seqmem.CausalConv(INPUT, 3, width=2, key=KEY), RATE, (), key=MASK_KEY)
    ),
    "LSTM with_zoneout": lambda: zoneout_case(seqmem.LSTM(INPUT, HIDDEN, key=KEY)),
    "LRU with_zoneout": lambda: zoneout_case(seqmem.LRU(INPUT, HIDDEN, key=KEY)),
    "CausalConv with_zoneout": lambda: zoneout_case(seqmem.CausalConv(INPUT, 3, width=2, key=KEY)),
}
QUICK = "RNN with_variational_dropout"


def normal(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def in_float64(tree):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float64), tree)


@pytest.mark.parametrize("name", slow_but({}, CELLS))
def test_cell_with_dropout_passes_every_law(name):
    """On the first method of its family: the others do not depend on the wrapper."""
    cell, x = CELLS[name]()
    report = seqmem.testing.check_cell(cell, x, methods=[family_methods(cell)[0]])
    assert set(report.values()) == {"holds"}


def is_per_example(node):
    return isinstance(node, seqmem.PerExample)


def cell_of_example(cell, example):
    """The cell with the masks of one example."""

    def select(node):
        if is_per_example(node):
            return jax.tree.map(lambda leaf: leaf[example], node.value)
        return node

    return jax.tree.map(select, cell, is_leaf=is_per_example)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("wrap", [with_input_dropout, with_variational_dropout])
def test_dropout_has_one_mask_per_sequence_for_all_steps_and_after_resets(wrap):
    cell = in_float64(wrap(seqmem.LSTM(INPUT, HIDDEN, key=KEY), RATE, (BATCH,), key=MASK_KEY))
    xs, resets = normal(TIME, BATCH, INPUT), np.arange(TIME) == 3
    resets = np.broadcast_to(resets[:, None], (TIME, BATCH))
    _, ys = seqmem.unroll(cell, cell.init_state(), xs, resets=resets)
    for example in range(BATCH):
        one_cell = cell_of_example(cell, example)
        for part in (slice(None, 3), slice(3, None)):
            state = one_cell.init_state()
            for t in range(TIME)[part]:
                state, y = one_cell(state, jnp.asarray(xs[t, example]))
                np.testing.assert_allclose(ys[t, example], y, rtol=1e-12)
    masks = np.asarray(jax.tree.leaves(cell.wrapper)[0])
    assert not (masks[0] == masks).all()
    assert set(np.unique(masks)) == {0, 1 / (1 - RATE)}


def test_input_dropout_multiplies_inputs_by_the_mask():
    cell = seqmem.LRU(INPUT, HIDDEN, key=KEY)
    dropped = with_input_dropout(cell, RATE, (BATCH,), key=MASK_KEY)
    mask, xs = dropped.wrapper.mask.value, jnp.asarray(normal(TIME, BATCH, INPUT), jnp.float32)
    result = jax.tree.leaves(seqmem.unroll(dropped, None, xs))
    expected = jax.tree.leaves(seqmem.unroll(cell, None, mask * xs))
    for leaf, expected_leaf in zip(result, expected, strict=True):
        np.testing.assert_array_equal(leaf, expected_leaf)


def lstm_reference(cell, xs, masks, zoneout):
    """An LSTM with Gal & Ghahramani's mask on its recurrent input and Krueger et al.'s zoneout."""
    W, U, b = (np.asarray(leaf) for leaf in (cell.W, cell.U, cell.b))
    h = c = np.zeros(HIDDEN)
    hs = []
    for x, k_h, k_c in zip(xs, zoneout.h, zoneout.c, strict=True):
        i, f, g, o = W @ x + U @ (masks * h) + b
        new = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = k_h * h + (1 - k_h) * sigmoid(o) * np.tanh(new)
        c = k_c * c + (1 - k_c) * new
        hs.append(h)
    return np.stack(hs)


@pytest.mark.usefixtures("float64")
def test_variational_dropout_matches_its_paper():
    cell = in_float64(seqmem.LSTM(INPUT, HIDDEN, key=KEY))
    dropped = with_variational_dropout(cell, RATE, (), key=MASK_KEY)
    assert dropped.family is seqmem.GATED
    xs, zeros = normal(TIME, INPUT), np.zeros((TIME, HIDDEN))
    masks = np.asarray(dropped.wrapper.masks.h)
    assert masks.any()
    assert not masks.all()
    expected = lstm_reference(cell, xs, masks, seqmem.LSTMState(zeros, zeros))
    _, hs = seqmem.unroll(dropped, None, xs)
    np.testing.assert_allclose(hs, expected, rtol=0, atol=1e-13)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("is_random", [True, False])
def test_zoneout_matches_its_paper_in_training_and_at_test_time(is_random):
    cell = in_float64(seqmem.LSTM(INPUT, HIDDEN, key=KEY))
    xs, rates = normal(TIME, INPUT), seqmem.LSTMState(h=0.3, c=0.6)
    rng = np.random.default_rng(0)

    def mask(rate):
        shape = (TIME, HIDDEN)
        return (rng.random(shape) < rate).astype(float) if is_random else np.full(shape, rate)

    masks = jax.tree.map(mask, rates)
    expected = lstm_reference(cell, xs, np.ones(HIDDEN), masks)
    _, hs = seqmem.unroll(with_zoneout(cell), None, (xs, masks))
    np.testing.assert_allclose(hs, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("cell", "family", "has_family"),
    [
        (seqmem.GRU(INPUT, HIDDEN, key=KEY), seqmem.GATED, True),
        (seqmem.LRU(INPUT, HIDDEN, key=KEY), seqmem.DIAGONAL, True),
        (seqmem.LinOSSIM(INPUT, HIDDEN, key=KEY), seqmem.BLOCK_DIAGONAL, True),
        (seqmem.DeltaRule(INPUT, 6, num_heads=3, key=KEY), seqmem.FAST_WEIGHTS, False),
        (seqmem.CausalConv(INPUT, 3, width=2, key=KEY), seqmem.WINDOW, False),
    ],
)
def test_cell_with_zoneout_has_its_family_where_the_promise_holds(cell, family, has_family):
    assert with_zoneout(cell).family is (family if has_family else seqmem.UNSTRUCTURED)
    assert with_input_dropout(cell, RATE, (), key=MASK_KEY).family is family


@pytest.mark.slow
@pytest.mark.parametrize("batch_shape", [(), (BATCH,)])
@pytest.mark.parametrize("wrap", [with_input_dropout, with_variational_dropout])
def test_dropout_masks_have_no_gradient_outside_of_the_loss(wrap, batch_shape):
    cell = wrap(seqmem.LSTM(INPUT, HIDDEN, key=KEY), RATE, batch_shape, key=MASK_KEY)
    xs = jnp.asarray(normal(TIME, *batch_shape, INPUT), jnp.float32)
    gradient = jax.grad(lambda cell: jnp.sum(seqmem.unroll(cell, None, xs)[1] ** 2))(cell)
    masks = jax.tree.leaves(gradient.wrapper)
    assert masks
    for mask in masks:
        np.testing.assert_array_equal(mask, 0)
    assert all((leaf != 0).any() for leaf in jax.tree.leaves(gradient.cell))


def test_weight_dropout_and_zoneout_have_no_masks_among_the_parameters():
    cell = seqmem.LSTM(INPUT, HIDDEN, key=KEY)
    dropped = with_weight_dropout(cell, RATE, key=MASK_KEY)
    assert jax.tree.structure(dropped) == jax.tree.structure(cell)
    assert jax.tree.leaves(with_zoneout(cell).wrapper) == []


def test_printed_tree_of_a_wrapped_cell_is_the_call_that_makes_it():
    cell = seqmem.MinGRU(INPUT, HIDDEN, key=KEY)
    inner = "MinGRU(W=f32[2,5,2], b=f32[2,5])"
    assert eqx.tree_pformat(with_zoneout(cell)) == f"with_zoneout({inner})"
    dropped = with_input_dropout(cell, RATE, (), key=MASK_KEY)
    assert eqx.tree_pformat(dropped) == f"with_input_dropout({inner}, mask=f32[2])"
    learned = seqmem.with_learned_state(cell)
    assert eqx.tree_pformat(learned) == f"with_learned_state({inner}, state=f32[5])"
    assert f"with_zoneout({inner})" in eqx.tree_pformat(seqmem.layers.Residual(with_zoneout(cell)))
    gated = seqmem.RNN(INPUT, HIDDEN, key=KEY)
    dropped = with_variational_dropout(gated, RATE, (BATCH,), key=MASK_KEY)
    words = eqx.tree_pformat(dropped).split()
    assert words[0] == "with_variational_dropout("
    assert words[-2:] == ["masks=PerExample(value=f32[3,5])", ")"]
    assert eqx.tree_pformat(seqmem.with_layer_norm(gated)).startswith("with_layer_norm(")


@pytest.mark.slow
def test_input_dropout_of_a_stack_applies_to_its_first_layer():
    stack = seqmem.blocks.gla_block(INPUT, 6, num_heads=3, key_size=3, rank=5, key=KEY)
    dropped = with_input_dropout(stack, RATE, (BATCH,), key=MASK_KEY)
    assert isinstance(dropped, seqmem.layers.Stack)
    assert dropped.layers[0].family is seqmem.FAST_WEIGHTS
    xs = jnp.asarray(normal(TIME, BATCH, INPUT), jnp.float32)
    mask = dropped.layers[0].wrapper.mask.value
    _, ys = seqmem.unroll(dropped, None, xs)
    _, expected = seqmem.unroll(stack, None, mask * xs)
    np.testing.assert_allclose(ys, expected, rtol=1e-5, atol=1e-6)


def test_gate_values_refuse_a_cell_whose_wrapper_changes_the_gates():
    cell = seqmem.GRU(INPUT, HIDDEN, key=KEY)
    dropped = with_variational_dropout(cell, RATE, (), key=MASK_KEY)
    run = dropped, cell.init_state(), dropped.project(jnp.ones(INPUT))
    message = "gate_values got with_variational_dropout(GRU), which changes the gates."
    assert_refused(message, seqmem.dynamics.gate_values, *run)


GRU, MIN_GRU = seqmem.GRU(INPUT, HIDDEN, key=KEY), seqmem.MinGRU(INPUT, HIDDEN, key=KEY)
REFUSED = {
    "with_input_dropout got rate=1.0.": lambda: with_input_dropout(GRU, 1.0, (), key=MASK_KEY),
    "with_weight_dropout got rate=-0.1.": lambda: with_weight_dropout(GRU, -0.1, key=MASK_KEY),
    "with_variational_dropout got rate=2.": lambda: with_variational_dropout(
        GRU, 2, (), key=MASK_KEY
    ),
    "with_input_dropout got a WrappedCell with input_shape=((2,), (5,)).": lambda: (
        with_input_dropout(with_zoneout(GRU), RATE, (), key=MASK_KEY)
    ),
    "with_variational_dropout got a MinGRU.": lambda: with_variational_dropout(
        MIN_GRU, RATE, (), key=MASK_KEY
    ),
    "with_weight_dropout got a MinGRU, which names no recurrent weights.": lambda: (
        with_weight_dropout(MIN_GRU, RATE, key=MASK_KEY)
    ),
    "with_layer_norm got a MinGRU.": lambda: seqmem.with_layer_norm(MIN_GRU),
    "with_layer_norm got eps=0.": lambda: seqmem.with_layer_norm(GRU, eps=0),
}


@pytest.mark.parametrize("message", REFUSED)
def test_wrapper_refuses_cells_and_rates_that_do_not_fit(message):
    assert_refused(message, REFUSED[message])


@pytest.mark.parametrize(
    "wrap", [seqmem.with_input_dropout, seqmem.with_variational_dropout], ids=lambda f: f.__name__
)
def test_mask_of_another_batch_is_refused_where_its_axes_look_right(wrap):
    """A mask [3, 2] of three examples with two entries has the axes of a batch (3, 2) in front."""
    cell = wrap(seqmem.GRU(2, 2, key=jax.random.key(0)), 0.5, (3,), key=jax.random.key(1))
    with pytest.raises(ValueError, match=r"dropout mask.*\n.*each example.*\n.*batch_shape"):
        seqmem.unroll(cell, None, jnp.ones((7, 3, 2, 2)))
