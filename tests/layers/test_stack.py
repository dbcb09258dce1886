"""Stacks and residual layers: sizes, methods, perturbations, masks of examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem._core.batching import is_per_example
from seqmem.layers import Bidirectional, Dropout, Map, Residual, Stack, deep, with_dropout_keys
from tests.helpers.unrolling import close, normal

KEY = jax.random.key(0)
TIME, BATCH = 7, 3


def test_stack_refuses_sizes_that_do_not_fit():
    with pytest.raises(
        ValueError, match=r"layer 0, a GRU with output_shape \(5,\).*\n.*fit.*\n.*Map"
    ):
        Stack([seqmem.GRU(3, 5, key=KEY), seqmem.GRU(4, 5, key=KEY)])


def test_stack_names_map_where_it_gets_a_function():
    with pytest.raises(ValueError, match=r"Stack got <.*\n.*cells.*\n.*seqmem.layers.Map"):
        Stack([seqmem.GRU(3, 5, key=KEY), jax.nn.gelu])


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_every_layer_that_takes_a_delta_t_gets_that_of_the_stack():
    network = deep(seqmem.CfC, 3, 5, num_layers=2, dropout=0.5, key=KEY)
    network = jax.tree.map(lambda leaf: leaf.astype(float), Stack([*network.layers, Map(jnp.tanh)]))
    xs = seqmem.Timed(normal(TIME, BATCH, 3), np.abs(normal(TIME, BATCH)))
    between = seqmem.unroll(network.layers[0], None, xs)[1]
    timed = seqmem.Timed(between, xs.delta_t)
    want = jnp.tanh(seqmem.unroll(network.layers[2], None, timed)[1])
    for method in (None, seqmem.ReferenceScan()):  # layer by layer, and step by step
        np.testing.assert_allclose(seqmem.unroll(network, None, xs, method=method)[1], want)


@pytest.mark.slow
def test_perturbed_stack_passes_the_delta_t_on():
    network = Stack([seqmem.CfC(3, 5, key=KEY), seqmem.CfC(5, 2, key=KEY)])
    xs = seqmem.Timed(
        jnp.ones((TIME, BATCH, 3)), jnp.linspace(0, 1, TIME * BATCH).reshape(TIME, -1)
    )
    solution = seqmem.solve(network, None, xs, return_states=True)
    zeros = jax.tree.map(jnp.zeros_like, solution.states)
    _, perturbed = seqmem.unroll(network, None, xs, perturbations=zeros)
    np.testing.assert_allclose(perturbed, solution.outputs, rtol=1e-6)


@pytest.mark.slow
def test_residual_layer_adds_the_vector_of_a_timed_input():
    cell = seqmem.CfC(3, 3, key=KEY)
    xs = seqmem.Timed(normal(TIME, BATCH, 3).astype(np.float32), np.ones((TIME, BATCH), np.float32))
    _, ys = seqmem.unroll(Residual(cell), None, xs)
    np.testing.assert_allclose(ys, xs.x + seqmem.unroll(cell, None, xs)[1], rtol=1e-6)


def test_stack_refuses_a_layer_with_delta_t_where_there_is_none():
    cell = seqmem.CfC(5, 5, key=KEY)
    with pytest.raises(ValueError, match=r"layer 1, a CfC, which takes a Δt.*\n.*Timed.*\n.*Map"):
        Stack([seqmem.GRU(3, 5, key=KEY), cell])
    with pytest.raises(ValueError, match=r"layer 0, a CfC with.*below layer 1, a CfC.*\n.*fit"):
        Stack([cell, seqmem.CfC(4, 5, key=KEY)])


def test_parallel_on_a_stack_names_layer_by_layer():
    stack = Stack([seqmem.MinGRU(3, 5, key=KEY), seqmem.MinGRU(5, 2, key=KEY)])
    with pytest.raises(
        ValueError, match=r"Parallel got a cell of type Stack.*\n.*\n.*LayerByLayer"
    ):
        seqmem.unroll(stack, None, jnp.ones((TIME, 3)), method=seqmem.Parallel())


def test_output_shape_of_layers():
    assert seqmem.LSTM(3, 5, key=KEY).output_shape == (5,)
    assert seqmem.layers.Embedding(11, 3, key=KEY).output_shape == (3,)
    network = deep(seqmem.GRU, 3, 5, num_layers=2, bidirectional=True, key=KEY)
    assert network.output_shape == (10,)
    with pytest.raises(ValueError, match=r"input_shape of \(None,\).*\n.*known sizes"):
        Map(jnp.tanh).output_shape  # noqa: B018


@pytest.mark.parametrize("method", [None, seqmem.Scan(), seqmem.ReferenceScan()], ids=str)
def test_residual_layer_has_a_mask_for_each_example(method):
    wrapped = seqmem.with_input_dropout(seqmem.GRU(3, 3, key=KEY), 0.5, (BATCH,), key=KEY)
    xs = normal(TIME, BATCH, 3).astype(np.float32)
    _, ys = seqmem.unroll(Residual(wrapped), None, xs, method=method)
    _, inner = seqmem.unroll(wrapped, None, xs)
    np.testing.assert_allclose(ys, xs + inner, rtol=1e-5)


@pytest.mark.usefixtures("float64")
def test_gradients_of_states_in_a_stack_are_those_of_perturbing_each_step():
    stack = Stack([seqmem.RNN(2, 5, key=KEY), seqmem.RNN(5, 3, key=KEY)])
    stack = jax.tree.map(lambda leaf: leaf.astype(float), stack)
    xs = jnp.asarray(normal(TIME, BATCH, 2))
    zeros = jax.tree.map(lambda leaf: jnp.zeros((TIME, BATCH, *leaf.shape)), stack.init_state())

    def loss(perturbations, method):
        state, ys = seqmem.unroll(stack, None, xs, perturbations=perturbations, method=method)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves((state, ys)))

    close(jax.grad(loss)(zeros, None), jax.grad(loss)(zeros, seqmem.ReferenceScan()))


def test_deep_network_has_the_layers_of_a_torch_lstm():
    network = deep(
        seqmem.LSTM, 3, 5, num_layers=3, bidirectional=True, dropout=0.3, forget_bias=2.0, key=KEY
    )
    kinds = [type(layer) for layer in network.layers]
    assert kinds == [Bidirectional, Dropout, Bidirectional, Dropout, Bidirectional]
    assert [layer.input_shape for layer in network.layers[::2]] == [(3,), (10,), (10,)]
    assert (network.layers[4].backward.b[1] == 2).all()
    with pytest.raises(ValueError, match=r"num_layers=0.*\n.*at least 1"):
        deep(seqmem.LSTM, 3, 5, num_layers=0, key=KEY)


def test_dropout_drops_at_every_step_by_itself_and_only_with_a_key():
    network = Stack([Dropout(0.5), Map(lambda x: x), Dropout(0.5)])
    xs = jnp.ones((TIME, BATCH, 11))
    _, ys = seqmem.unroll(network, None, xs)
    np.testing.assert_array_equal(ys, xs)
    trained = with_dropout_keys(network, KEY)
    _, ys = seqmem.unroll(trained, None, xs)
    assert set(np.unique(ys)) == {0.0, 4.0}
    assert abs(float((ys > 0).mean()) - 0.25) < 0.1
    assert (ys[0] != ys[1]).any()
    assert (
        jax.random.key_data(trained.layers[0].key) != jax.random.key_data(trained.layers[2].key)
    ).any()


def test_dropout_has_the_gradient_of_its_mask():
    layer = Dropout(0.5, key=KEY)
    xs = jnp.ones((TIME, BATCH, 11))
    grads = jax.grad(lambda xs: seqmem.unroll(layer, None, xs)[1].sum())(xs)
    np.testing.assert_array_equal(grads, seqmem.unroll(layer, None, xs)[1])


def test_dropout_with_a_key_has_no_single_step():
    with pytest.raises(ValueError, match=r"no single step.*\n.*\n.*LayerByLayer"):
        seqmem.unroll(Dropout(0.5, key=KEY), None, jnp.ones((TIME, 3)), method=seqmem.Scan())


@pytest.mark.slow
def test_learned_state_of_a_stack_is_learned_layer_by_layer():
    """The stack remains one, so each layer runs by its own method."""
    stack = Stack([seqmem.MinGRU(2, 5, key=KEY), Map(jnp.tanh), seqmem.GRU(5, 3, key=KEY)])
    theta = jax.tree.map(lambda leaf: leaf + 0.5, stack.init_state())
    cell, xs = seqmem.with_learned_state(stack, theta), jnp.ones((TIME, BATCH, 2))
    assert jax.tree.map(float, jax.tree.map(jnp.mean, cell.init_state())) == (0.5, (), 0.5)

    @jax.jit
    @jax.value_and_grad
    def loss(cell):
        methods = seqmem.layers.LayerByLayer(seqmem.Parallel(), None, None)
        return jnp.sum(seqmem.unroll(cell, None, xs, method=methods)[1] ** 2)

    value, gradient = loss(cell)
    outputs = seqmem.unroll(stack, theta, xs)[1]
    np.testing.assert_allclose(value, jnp.sum(outputs**2), rtol=1e-5)
    by_theta = jax.tree.leaves([gradient.layers[i].wrapper for i in (0, 2)])
    assert all((leaf != 0).all() for leaf in by_theta)


def test_layers_with_and_without_time_over_devices_are_refused():
    with pytest.raises(ValueError, match=r"LayerByLayer.*\n.*for every layer.*\n.*for each layer"):
        seqmem.layers.LayerByLayer(seqmem.Sharded("time"), None)


def test_wrapped_stack_runs_as_one_cell():
    stack = Stack([seqmem.RNN(2, 5, key=KEY), seqmem.GRU(5, 3, key=KEY)])
    cell, xs = seqmem.with_zoneout(stack), normal(TIME, BATCH, 2).astype(np.float32)
    inputs = xs, jax.tree.map(jnp.zeros_like, stack.init_state(TIME, BATCH))
    _, ys = seqmem.unroll(cell, None, inputs)
    np.testing.assert_allclose(ys, seqmem.unroll(stack, None, xs)[1], rtol=1e-5, atol=1e-6)


def test_input_dropout_of_a_network_that_begins_with_dropout_is_refused():
    network = Stack([Dropout(0.5), seqmem.GRU(2, 5, key=KEY)])
    with pytest.raises(ValueError, match=r"Dropout as the first layer.*\n.*cell.*\n.*first cell"):
        seqmem.with_input_dropout(network, 0.5, (BATCH,), key=KEY)


@pytest.mark.slow
def test_flow_of_a_bidirectional_stack_is_the_gradient_of_each_layers_states():
    network = deep(seqmem.RNN, 2, 5, num_layers=2, bidirectional=True, dropout=0.5, key=KEY)
    xs = jnp.asarray(normal(TIME, BATCH, 2), jnp.float32)

    def loss(network, perturbations):
        return jnp.sum(seqmem.unroll(network, None, xs, perturbations=perturbations)[1] ** 2)

    _, _, flow = seqmem.gradients.value_grad_and_flow(loss)(network)
    zeros = jax.tree.map(jnp.zeros_like, flow.d_states)
    step = jax.tree.map(lambda leaf: leaf.at[3].set(1e-2), zeros)
    change = loss(network, step) - loss(network, jax.tree.map(jnp.negative, step))
    predicted = sum(jnp.sum(d[3]) for d in jax.tree.leaves(flow.d_states))
    np.testing.assert_allclose(change / 2e-2, predicted, rtol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("bidirectional", [False, True])
def test_input_dropout_of_a_network_is_that_of_its_first_cells(bidirectional):
    network = deep(seqmem.GRU, 2, 5, num_layers=2, bidirectional=bidirectional, key=KEY)
    dropped = seqmem.with_input_dropout(network, 0.5, (BATCH,), key=KEY)
    xs = normal(TIME, BATCH, 2).astype(np.float32)
    _, ys = seqmem.unroll(dropped, None, xs)
    mask = np.asarray(jax.tree.leaves(dropped.layers[0], is_leaf=is_per_example)[-1].value)
    _, want = seqmem.unroll(network, None, xs * mask)
    np.testing.assert_allclose(ys, want, rtol=1e-5, atol=1e-6)
    assert dropped.output_shape == network.output_shape
