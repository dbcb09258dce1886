"""The recurrent cells of Flax and ours with their weights compute the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.interop import from_flax, to_flax
from tests.helpers.interop import (
    HIDDEN,
    INPUT,
    assert_identical,
    assert_same_function,
    cell_of,
    draw,
    draw_like,
)
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow_but

linen = pytest.importorskip("flax.linen", reason="Flax is not installed")
nnx = pytest.importorskip("flax.nnx", reason="Flax is not installed")

pytestmark = pytest.mark.usefixtures("float64")

# our cell, and the arguments of theirs
LINEN = {
    "LSTMCell": (seqmem.LSTM, {}),
    "OptimizedLSTMCell": (seqmem.LSTM, {}),
    "GRUCell": (seqmem.GRU, {}),
    "MGUCell": (seqmem.ResetAfterMGU, {}),
    "MGUCell without reset": (seqmem.UGRNN, {"reset_gate": False}),
    "SimpleCell": (seqmem.RNN, {}),
    "SimpleCell with relu": (seqmem.RNN, {"activation_fn": jax.nn.relu}),
}
NNX = {
    "LSTMCell": seqmem.LSTM,
    "OptimizedLSTMCell": seqmem.LSTM,
    "GRUCell": seqmem.GRU,
    "SimpleCell": seqmem.RNN,
}


def make_linen(name):
    """A cell and random parameters of it."""
    cell = getattr(linen, name.split()[0])(HIDDEN, **LINEN[name][1])

    def parameters(key):
        x = jnp.zeros((1, INPUT), jnp.float32)
        return cell.init(key, cell.initialize_carry(key, x.shape), x)["params"]

    return cell, draw_like(jax.eval_shape(parameters, jax.random.key(0)))


def make_nnx(name):
    """The structure of a cell and random parameters of it."""
    cell = nnx.eval_shape(
        lambda: getattr(nnx, name)(INPUT, HIDDEN, dtype=jnp.float64, rngs=nnx.Rngs(0))
    )
    graph, state = nnx.split(cell)
    return graph, draw_like(nnx.to_pure_dict(state))


def reorder(carry):
    """(c, h) to (h, c), and back."""
    return carry[::-1] if isinstance(carry, tuple) else (carry,)


def carry_of(states):
    return states[::-1] if len(states) == 2 else states[0]


def num_states(cell_type):
    return 2 if cell_type is seqmem.LSTM else 1


@pytest.mark.parametrize("name", slow_but({"MGUCell"}, LINEN))
def test_cell_of_linen_matches_ours_in_outputs_states_and_gradients(name):
    cell, params = make_linen(name)
    cell_type, options = LINEN[name]

    def step(params, states, x):
        carry, y = cell.apply({"params": params}, carry_of(states), x)
        return reorder(carry), y

    activation = options.get("activation_fn")
    assert_same_function(
        lambda params: from_flax(cell_type, params, activation=activation),
        step,
        params,
        num_states(cell_type),
    )


@pytest.mark.parametrize("name", slow_but({"GRUCell"}, NNX))
def test_cell_of_nnx_matches_ours_in_outputs_states_and_gradients(name):
    graph, params = make_nnx(name)

    def step(params, states, x):
        carry, y = nnx.merge(graph, nnx.State(params))(carry_of(states), x)
        return reorder(carry), y

    make = NNX[name]
    assert_same_function(lambda params: from_flax(make, params), step, params, num_states(make))


@pytest.mark.parametrize("name", LINEN)
def test_parameters_of_linen_survive_the_round_trip(name):
    _, params = make_linen(name)
    assert_identical(to_flax(from_flax(LINEN[name][0], params)), params)


@pytest.mark.parametrize("name", NNX)
def test_parameters_of_nnx_survive_the_round_trip(name):
    _, params = make_nnx(name)
    cell = from_flax(NNX[name], params)
    assert_identical(to_flax(cell, module=f"nnx.{name}"), params)


@pytest.mark.slow
def test_module_of_nnx_is_read_and_written_as_it_is():
    cell = nnx.LSTMCell(INPUT, HIDDEN, rngs=nnx.Rngs(0))
    ours = from_flax(seqmem.LSTM, nnx.state(cell, nnx.Param))
    np.testing.assert_array_equal(ours.W[1], cell.if_.kernel[...].T)
    other = nnx.LSTMCell(INPUT, HIDDEN, rngs=nnx.Rngs(1))
    nnx.update(other, to_flax(ours, module="nnx.LSTMCell"))
    np.testing.assert_array_equal(other.hg.kernel[...], cell.hg.kernel[...])


def test_gates_of_one_kernel_are_found_by_name():
    kernel = np.repeat(np.arange(4.0), HIDDEN) * np.ones((INPUT, 1))
    dense_h = {"kernel": draw((HIDDEN, 4 * HIDDEN)), "bias": draw((4 * HIDDEN,))}
    cell = from_flax(seqmem.LSTM, {"dense_i": {"kernel": kernel}, "dense_h": dense_h})
    for place, gate in enumerate(("input", "forget", "cell", "output")):
        assert np.all(place == seqmem.gate(cell, gate).W)


_, LSTM = make_linen("LSTMCell")
_, NNX_GRU = make_nnx("GRUCell")


@pytest.mark.parametrize(
    ("cell_type", "params", "options", "came"),
    [
        (seqmem.MGU, LSTM, {}, "from_flax got a cell of type MGU."),
        (seqmem.GRU, LSTM, {}, "names ['hf.bias', "),
        (seqmem.LSTM, {"params": LSTM}, {}, "names ['params.hf.bias'"),
        (seqmem.LSTM, LSTM | {"if": {}}, {}, "names ['hf.bias'"),
        (seqmem.LSTM, LSTM | {"if": {"kernel": np.ones((2, 5))}}, {}, "if.kernel has shape (2, 5)"),
        (seqmem.GRU, NNX_GRU | {"dense_i": NNX_GRU["dense_h"]}, {}, "names ['dense_h.kernel'"),
        (seqmem.LSTM, [1, 2], {}, "parameters of type list."),
        (seqmem.LSTM, LSTM, {"activation": jnp.sin}, "from_flax got activation="),
    ],
)
def test_parameters_that_do_not_fit_are_refused(cell_type, params, options, came):
    assert_refused(came, from_flax, cell_type, params, **options)


def test_cell_that_flax_does_not_have_is_refused():
    assert_refused("to_flax got a cell of type MGU.", to_flax, cell_of(seqmem.MGU))
    rnn = cell_of(seqmem.RNN, output_size=2)
    assert_refused("an RNN with an output size.", to_flax, rnn)
    gru = from_flax(seqmem.GRU, make_linen("GRUCell")[1])
    assert_refused("a GRU whose bias c is not 0.", to_flax, gru, module="nnx.GRUCell")
    assert_refused("module='nnx.LSTMCell' for a GRU.", to_flax, gru, module="nnx.LSTMCell")
