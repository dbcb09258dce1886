"""Sizes and activations: what constructors refuse, before anything is drawn."""

import jax
import numpy as np
import pytest

import seqmem
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow_but

KEY = jax.random.key(0)
INPUT, HIDDEN = 3, 5
NO_SIZES = (7.0, 0, -3, True, "7", None)
TWO_SIZES = {
    **{
        cell_type: {}
        for cell_type in (
            *(seqmem.LSTM, seqmem.PeepholeLSTM, seqmem.SLSTM, seqmem.GRU, seqmem.ResetBeforeGRU),
            *(seqmem.MGU, seqmem.RNN, seqmem.IndRNN, seqmem.MinGRU, seqmem.MinLSTM, seqmem.GILR),
            *(seqmem.QRNN, seqmem.LRU, seqmem.HGRN, seqmem.S5),
            *(seqmem.JANET, seqmem.MinimalRNN, seqmem.RAN, seqmem.UGRNN, seqmem.LiGRU, seqmem.CFN),
            *(seqmem.STAR, seqmem.BRC, seqmem.NBRC, seqmem.ATR, seqmem.FastRNN, seqmem.FastGRNN),
            *(seqmem.MUT3, seqmem.MultiplicativeLSTM, seqmem.MogrifierLSTM, seqmem.ResetAfterMGU),
        )
    },
    seqmem.ProjectedLSTM: {"output_size": 2},
    seqmem.SCRN: {"context_size": 2},
    seqmem.RHN: {"depth": 2},
}
OPTIONAL_SIZES = [
    (seqmem.RNN, "output_size"),
    (seqmem.ProjectedLSTM, "output_size"),
    (seqmem.SLSTM, "num_heads"),
    (seqmem.SCRN, "context_size"),
    (seqmem.RHN, "depth"),
    (seqmem.S5, "blocks"),
    (seqmem.S6, "rank"),
]


@pytest.mark.parametrize("cell_type", TWO_SIZES, ids=lambda cell_type: cell_type.__name__)
def test_cell_refuses_a_size_that_is_not_a_positive_whole_number(cell_type):
    name, options = cell_type.__name__, TWO_SIZES[cell_type]
    for size in NO_SIZES:
        message = f"{name} got hidden_size={size!r}."
        assert_refused(message, cell_type, INPUT, size, key=KEY, **options)
        message = f"{name} got input_size={size!r}."
        assert_refused(message, cell_type, size, HIDDEN, key=KEY, **options)


def test_cell_takes_sizes_of_numpy():
    sizes = np.array([INPUT, HIDDEN])
    cell, expected = seqmem.LSTM(*sizes, key=KEY), seqmem.LSTM(INPUT, HIDDEN, key=KEY)
    assert cell.input_shape == (INPUT,)
    for leaf, expected_leaf in zip(jax.tree.leaves(cell), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(leaf, expected_leaf)


@pytest.mark.parametrize(
    ("cell_type", "option"), OPTIONAL_SIZES, ids=[cls.__name__ for cls, _ in OPTIONAL_SIZES]
)
def test_cell_refuses_an_optional_size_that_is_not_a_positive_whole_number(cell_type, option):
    for size in (2.0, 0):
        message = f"{cell_type.__name__} got {option}={size!r}."
        assert_refused(message, cell_type, INPUT, HIDDEN, key=KEY, **{option: size})


def test_cells_of_other_sizes_refuse_one_that_is_not_a_positive_whole_number():
    for cell_type in (seqmem.SRU, seqmem.RGLRU, seqmem.MUT1, seqmem.MUT2):
        assert_refused(f"{cell_type.__name__} got size=5.0.", cell_type, 5.0, key=KEY)
    for cell_type in (seqmem.S4D, seqmem.S6):
        assert_refused(f"{cell_type.__name__} got state_size=0.", cell_type, INPUT, 0, key=KEY)


def test_small_cells_refuse_what_is_no_number_of_rounds_and_no_share():
    mogrifier = seqmem.MogrifierLSTM
    assert_refused("MogrifierLSTM got rounds=-1.", mogrifier, INPUT, HIDDEN, rounds=-1, key=KEY)
    for alpha in (-0.1, 1.0, float("nan")):
        sizes = {"context_size": 2, "alpha": alpha}
        assert_refused(f"SCRN got alpha={alpha}.", seqmem.SCRN, INPUT, HIDDEN, **sizes, key=KEY)


@pytest.mark.parametrize("cell_type", [seqmem.RNN, seqmem.IndRNN, seqmem.GILR])
def test_cell_refuses_the_name_of_an_activation(cell_type):
    message = f"{cell_type.__name__} got activation='tanh'."
    assert_refused(message, cell_type, INPUT, HIDDEN, activation="tanh", key=KEY)


@pytest.mark.parametrize(
    "options",
    [{"r_min": -0.1}, {"r_min": 0.5, "r_max": 0.5}, {"r_max": 1.1}, {"max_phase": 7.0}],
    ids=repr,
)
def test_lru_refuses_a_ring_that_is_empty_or_outside_of_the_unit_disc(options):
    assert_refused("LRU got r_min=", seqmem.LRU, INPUT, HIDDEN, key=KEY, **options)


CELLS = {
    "LSTM": lambda key: seqmem.LSTM(INPUT, HIDDEN, key=key),
    "RNN": lambda key: seqmem.RNN(INPUT, HIDDEN, output_size=2, key=key),
    "MGU": lambda key: seqmem.MGU(INPUT, HIDDEN, key=key),
    "S4D": lambda key: seqmem.S4D(INPUT, HIDDEN, key=key),
    "LRU": lambda key: seqmem.LRU(INPUT, HIDDEN, key=key),
    "CausalConv": lambda key: seqmem.CausalConv(INPUT, 2, width=3, key=key),
    "SlidingWindowAttention": lambda key: seqmem.SlidingWindowAttention(
        6, num_heads=3, window=2, key=key
    ),
}


@pytest.mark.parametrize("name", slow_but({"LSTM", "S4D", "CausalConv"}, CELLS))
def test_parameters_of_each_example_give_the_outputs_of_separate_cells(name):
    """Sizes are the last axes of the parameters, so that batch axes may stand in front of them."""
    keys = jax.random.split(KEY, 2)
    cells = jax.vmap(CELLS[name])(keys)
    batched = jax.tree.map(seqmem.PerExample, cells)
    assert batched.input_shape == cells.input_shape == CELLS[name](KEY).input_shape
    xs = np.random.default_rng(5).normal(size=(7, 2, *batched.input_shape)).astype("float32")
    unroll = jax.jit(seqmem.unroll)
    ys = unroll(batched, None, xs)[1]
    for example, key in enumerate(keys):
        expected = unroll(CELLS[name](key), None, xs[:, example])[1]
        np.testing.assert_allclose(ys[:, example], expected, rtol=1e-4, atol=1e-5)
