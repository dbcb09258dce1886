"""Cells as modules of Flax NNX: the same numbers and gradients, and parameters that are trained."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import seqmem

nnx = pytest.importorskip("flax.nnx", reason="Flax is not installed")

from seqmem.interop.nnx import Memory  # noqa: E402
from tests.helpers.slow import slow  # noqa: E402

TIME, BATCH, INPUT, HIDDEN = 7, 2, 3, 5
LENGTHS = np.array([7, 4])
KEY = jax.random.key(0)
XS = np.random.default_rng(1).standard_normal((TIME, BATCH, INPUT))

pytestmark = pytest.mark.usefixtures("float64")


def make_network(**options):
    return seqmem.layers.deep(seqmem.LSTM, INPUT, HIDDEN, num_layers=2, key=KEY, **options)


def loss(run):
    _, ys = run(None, XS, lengths=LENGTHS)
    return jnp.sum(jnp.sin(ys))


def loss_of_cell(cell):
    return loss(lambda *args, **options: seqmem.unroll(cell, *args, **options))


def by_name(tree):
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


@pytest.mark.parametrize("bidirectional", [False, slow(True)])
def test_memory_has_the_outputs_and_gradients_of_its_cell(bidirectional):
    cell = make_network(bidirectional=bidirectional)
    memory = Memory(cell)
    value, gradients = nnx.jit(nnx.value_and_grad(loss))(memory)
    expected, d_cell = eqx.filter_value_and_grad(loss_of_cell)(cell)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    gradients, expected = gradients["variables"], by_name(d_cell)
    assert set(gradients) == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(gradients[name][...], array, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_optimiser_moves_memory_as_optax_moves_its_cell():
    cell, transform = make_network(), optax.sgd(0.1, momentum=0.9)
    memory = Memory(cell)
    optimiser = nnx.Optimizer(memory, transform, wrt=nnx.Param)

    @nnx.jit
    def step(memory, optimiser):
        optimiser.update(memory, nnx.grad(loss)(memory))

    @jax.jit
    def step_of_cell(cell, moments):
        updates, moments = transform.update(jax.grad(loss_of_cell)(cell), moments)
        return optax.apply_updates(cell, updates), moments

    trained, moments = cell, transform.init(cell)
    for _ in range(3):
        step(memory, optimiser)
        trained, moments = step_of_cell(trained, moments)
    assert jax.tree.structure(memory.cell) == jax.tree.structure(cell)
    initial, expected = by_name(cell), by_name(trained)
    for name, array in by_name(memory.cell).items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-9, atol=1e-12)
        assert np.all(array != initial[name]), f"{name} was not trained"


@pytest.mark.slow
def test_memory_inside_another_module_is_trained():
    class Classifier(nnx.Module):
        def __init__(self, rngs):
            self.memory = Memory(seqmem.GRU(INPUT, HIDDEN, key=KEY))
            self.readout = nnx.Linear(HIDDEN, 1, param_dtype=jnp.float64, rngs=rngs)

        def __call__(self, xs):
            return self.readout(self.memory(None, xs)[1][-1])

    model = Classifier(nnx.Rngs(0))
    gradients = nnx.grad(lambda model: jnp.sum(model(XS) ** 2))(model)
    norms = jax.tree.map(lambda leaf: float(jnp.linalg.norm(leaf)), nnx.to_pure_dict(gradients))
    assert set(norms["memory"]["variables"]) == {"W", "U", "b", "c"}
    assert all(norm > 0 for norm in jax.tree.leaves(norms))


def test_arrays_that_are_not_floating_point_are_no_parameters():
    memory = Memory(seqmem.layers.Stack([seqmem.layers.Dropout(0.5, key=KEY), make_network()]))
    assert set(nnx.state(memory, nnx.Param)["variables"]) == {
        name for name in memory.variables if name != "layers.0.key"
    }
    assert jnp.all(memory.cell.layers[0].key == KEY)


def test_memory_starts_from_its_cells_initial_state():
    cell = make_network()
    state = Memory(cell).init_state(BATCH)
    assert jax.tree.map(jnp.shape, state) == jax.tree.map(jnp.shape, cell.init_state(BATCH))
