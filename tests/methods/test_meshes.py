"""On a mesh of devices, of whatever type its axes are, the numbers are those of one device."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

import seqmem
from seqmem._methods.scan.vjp_rules import tiles_of_products
from tests.helpers.cells import CELLS, LARGE
from tests.helpers.devices import run_on_devices
from tests.helpers.inputs import draw_inputs
from tests.helpers.slow import slow, slow_but
from tests.helpers.unrolling import close
from tests.methods import on_meshes
from tests.methods.on_meshes import CELLS_OF_LOOPS, WAYS

TIME, BATCH = 7, 3


UNROLLED_STEPS = tiles_of_products(on_meshes.BATCH, on_meshes.HIDDEN, "cpu").unroll
QUICK = {"LSTM", "MinGRU", "DeltaRule", "DepthwiseConv"}


def explicit_mesh():
    """One device is enough: types say where arrays are, and operations refuse those that differ."""
    return jax.make_mesh((1,), ("data",), axis_types=(AxisType.Explicit,))


def leading_specs(tree, axes):
    return {tuple(jax.typeof(leaf).sharding.spec[:axes]) for leaf in jax.tree.leaves(tree)}


everything = functools.partial(on_meshes.everything, on_meshes.run)


def draw_run(name):
    """A cell in float64, inputs, lengths and resets."""
    cell = seqmem.as_precision(CELLS[name](), jnp.dtype(jnp.float64))
    rng = np.random.default_rng(0)
    xs = draw_inputs(cell, rng, TIME, BATCH)
    return cell, xs, np.array([7, 0, 4]), rng.random((TIME, BATCH)) < 0.3


def assert_split_by_example(state, ys):
    assert leading_specs(ys, 2) == {(None, "data")}
    assert leading_specs(state, 1) == {("data",)}


@pytest.mark.usefixtures("float64", "free_programs")
@pytest.mark.parametrize("enters_mesh", [False, slow(True)])
@pytest.mark.parametrize("name", slow_but({"LSTM", "MinGRU"}, sorted(QUICK)))
def test_explicit_axes_give_the_numbers_of_arrays_without_them(name, enters_mesh):
    args, mesh = draw_run(name), explicit_mesh()
    program = jax.jit(everything)
    with jax.set_mesh(mesh) if enters_mesh else contextlib.nullcontext():
        grads, (state, ys) = program(*on_meshes.place(mesh, *args))
    close((grads, (state, ys)), program(*args))
    assert_split_by_example(state, ys)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", [name for name in LARGE if name not in QUICK])
def test_explicit_axes_take_every_cell(name):
    """Its program is traced alone, since types are checked there."""
    args = on_meshes.place(explicit_mesh(), *draw_run(name))
    _, (state, ys) = jax.eval_shape(everything, *args)
    assert_split_by_example(state, ys)


def test_whole_solution_is_where_the_inputs_are():
    cell = seqmem.GRU(2, 5, key=jax.random.key(0))
    mesh = explicit_mesh()
    xs, valid = np.ones((TIME, BATCH, 2), np.float32), np.ones((TIME, BATCH), bool)
    cell, xs, _, valid = on_meshes.place(mesh, cell, xs, None, valid)
    solution = seqmem.solve(
        cell, None, xs, mask=valid, perturbations=jnp.zeros((TIME, BATCH, 5)), return_states=True
    )
    assert leading_specs((solution.outputs, solution.states), 2) == {(None, "data")}
    assert leading_specs((solution.state, solution.stats), 1) == {("data",)}


@pytest.fixture(scope="module")
def results():
    return run_on_devices(8, "tests.methods.on_meshes")


@pytest.mark.slow
@pytest.mark.parametrize(("way", "name"), [(way, name) for way in WAYS for name in WAYS[way]])
def test_eight_devices_match_one(results, way, name):
    assert results["differences"][f"{name}, {way}"] < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("way", ["Auto", "shard_map"])
@pytest.mark.parametrize("name", CELLS_OF_LOOPS)
def test_devices_add_gradients_after_all_loops_and_say_nothing_else(results, name, way):
    programs = results["communication"][f"{name}, {way}"]
    assert programs["forward"]["loops"] > 0
    assert programs["gradient"]["loops"] > programs["forward"]["loops"]
    assert not programs["forward"]["in_loops"]
    assert not programs["forward"]["outside"]
    assert not programs["gradient"]["in_loops"]
    assert set(programs["gradient"]["outside"]) == {"all-reduce"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_split_weights_cost_one_exchange_per_step_and_direction(results, name):
    """And one per backward tile, whose weight gradients need all states."""
    programs = results["communication"][f"{name}, split weights"]
    assert programs["forward"]["in_loops"] == {"all-gather": UNROLLED_STEPS}
    assert not programs["forward"]["outside"]
    assert programs["gradient"]["in_loops"] == {"all-gather": UNROLLED_STEPS + 1, "all-reduce": 1}
    assert programs["gradient"]["outside"] == {"all-reduce": 1}
