"""Networks survive the way to PyTorch's state dicts and back; others are refused."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.interop import from_torch, to_torch
from tests.helpers.interop import assert_identical
from tests.helpers.torch_modules import HIDDEN, INPUT, KINDS, OUTPUT, draw, every_kind

pytestmark = pytest.mark.usefixtures("float64")


def make_network(kind, dtype="float64", **options):
    """A network of arrays that differ, biases too."""
    cell_type, _, cell_options, _ = KINDS[kind]
    cell_options = cell_options | ({"output_size": OUTPUT} if kind == "ProjectedLSTM" else {})
    make = functools.partial(seqmem.layers.deep, cell_type, INPUT, HIDDEN)
    net = eqx.filter_eval_shape(make, key=jax.random.key(0), **options, **cell_options)
    rng = np.random.default_rng(5)
    return jax.tree.map(lambda leaf: jnp.asarray(draw(rng, leaf.shape, dtype)), net)


def make_cell(kind, dtype="float64"):
    return make_network(kind, dtype).layers[0]


@every_kind
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_cell_survives_the_round_trip(kind, dtype):
    cell = make_cell(kind, dtype)
    weights = to_torch(cell)
    assert {array.dtype for array in weights.values()} == {np.dtype(dtype)}
    assert_identical(from_torch(type(cell), weights, **KINDS[kind][2]), cell)


@every_kind
@pytest.mark.parametrize("bidirectional", [False, True])
def test_deep_network_with_dropout_survives_the_round_trip(kind, bidirectional):
    options = {"num_layers": 3, "bidirectional": bidirectional}
    net = make_network(kind, dropout=0.3, **options)
    weights = to_torch(net)
    assert weights.keys() == to_torch(make_network(kind, **options)).keys()
    cell_type, _, cell_options, _ = KINDS[kind]
    assert_identical(from_torch(cell_type, weights, dropout=0.3, **cell_options), net)


def test_missing_biases_are_zeros():
    weights = without(without(to_torch(make_cell("GRU")), "bias_ih_l0"), "bias_hh_l0")
    cell = from_torch(seqmem.GRU, weights)
    assert cell.b.shape == (3, HIDDEN)
    assert cell.c.shape == (HIDDEN,)
    assert not cell.b.any()
    assert not cell.c.any()


def test_gates_keep_their_names():
    cell = make_cell("LSTM")
    forget = to_torch(cell)["weight_hh_l0"][HIDDEN : 2 * HIDDEN]  # PyTorch's order: i, f, g, o
    np.testing.assert_array_equal(forget, seqmem.gate(cell, "forget").U)


def without(weights, name):
    return {other: array for other, array in weights.items() if other != name}


def renamed(weights, old, new):
    return {name.replace(old, new): array for name, array in weights.items()}


LSTM, PROJECTED = to_torch(make_cell("LSTM")), to_torch(make_cell("ProjectedLSTM"))
DEEP = to_torch(make_network("LSTM", num_layers=2, bidirectional=True))


@pytest.mark.parametrize(
    ("cell_type", "weights", "options", "came"),
    [
        (seqmem.MGU, LSTM, {}, "a cell of type MGU."),
        (seqmem.LSTM, without(LSTM, "weight_hh_l0"), {}, "names ['bias_hh_l0'"),
        (seqmem.LSTM, without(LSTM, "bias_hh_l0"), {}, "names ['bias_ih_l0'"),
        (seqmem.LSTM, renamed(LSTM, "_l0", "_l1"), {}, "names ['bias_hh_l1'"),
        (seqmem.LSTM, renamed(LSTM, "_l0", "_l0_reverse"), {}, "names ['bias_hh_l0_reverse'"),
        (seqmem.LSTM, renamed(LSTM, "weight", "rnn.weight"), {}, "names ['bias_hh_l0'"),
        (seqmem.LSTM, LSTM | {"fc.weight": np.ones((3, 5))}, {}, "names ['bias_hh_l0'"),
        (seqmem.LSTM, without(DEEP, "weight_ih_l1_reverse"), {}, "names ['bias_hh_l0'"),
        (seqmem.LSTM, PROJECTED, {}, "names ['bias_hh_l0'"),
        (seqmem.ProjectedLSTM, LSTM, {}, "names ['bias_hh_l0'"),
        (seqmem.LSTM, DEEP | {"weight_ih_l1": np.ones((20, 5))}, {}, "weight_ih_l1 has shape"),
        (seqmem.GRU, LSTM, {}, "weight_ih_l0 has shape (20, 2)."),
        (seqmem.LSTM, LSTM | {"bias_ih_l0": np.ones(5)}, {}, "bias_ih_l0 has shape (5,)."),
        (seqmem.LSTM, LSTM | {"bias_ih_l0": np.ones((20, 1))}, {}, "bias_ih_l0 is float64 of"),
        (seqmem.LSTM, LSTM | {"weight_ih_l0": np.ones((20, 2), int)}, {}, "weight_ih_l0 is int64"),
        (seqmem.LSTM, LSTM, {"activation": jax.nn.relu}, "from_torch got activation="),
        (seqmem.RNN, LSTM, {"activation": jax.nn.gelu}, "from_torch got activation="),
    ],
)
def test_state_dict_that_does_not_fit_is_refused(cell_type, weights, options, came):
    with pytest.raises(ValueError, match=r"(?s)\n  Expected: .+\n  What to do: .+") as refusal:
        from_torch(cell_type, weights, **options)
    assert str(refusal.value).startswith(came)


@pytest.mark.parametrize(
    ("cell_type", "options", "came"),
    [
        (seqmem.MGU, {}, "a cell of type MGU."),
        (seqmem.RNN, {"output_size": OUTPUT}, "an RNN with an output size."),
        (seqmem.RNN, {"activation": jnp.sin}, "an RNN with activation"),
    ],
)
def test_cell_that_torch_does_not_have_is_refused(cell_type, options, came):
    cell = eqx.filter_eval_shape(cell_type, INPUT, HIDDEN, key=jax.random.key(0), **options)
    with pytest.raises(ValueError, match=r"(?s)\n  Expected: .+\n  What to do: .+") as refusal:
        to_torch(cell)
    assert str(refusal.value).startswith(came)


@pytest.mark.parametrize(
    ("layers", "came"),
    [
        ((make_cell("GRU"), seqmem.RNN(HIDDEN, HIDDEN, key=jax.random.key(0))), "layers ['GRU', "),
        (
            (
                make_network("GRU", bidirectional=True).layers[0],
                seqmem.GRU(2 * HIDDEN, HIDDEN, key=jax.random.key(0)),
            ),
            "layers ['Bidirectional', 'GRU']",
        ),
        (
            (make_cell("GRU"), seqmem.GRU(HIDDEN, 3, key=jax.random.key(0))),
            "layers.1.W has shape (3, 3, 5).",
        ),
    ],
)
def test_network_that_is_not_one_torch_module_is_refused(layers, came):
    with pytest.raises(ValueError, match=r"(?s)\n  Expected: .+\n  What to do: .+") as refusal:
        to_torch(seqmem.layers.Stack(layers))
    assert str(refusal.value).startswith(came)
