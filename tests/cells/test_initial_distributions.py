"""Every public cell has the inputs of its docstring, and every array of it starts as that says."""

import inspect

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.cells.initial.fast_weights import FAST_WEIGHTS
from tests.cells.initial.gated import GATED
from tests.cells.initial.linear import LINEAR
from tests.cells.initial.others import OTHERS, STRUCTURES
from tests.cells.initial.sizes import HIDDEN, input_shape_of, make
from tests.helpers.distributions import (
    FanIn,
    Normal,
    Uniform,
    assert_drawn,
    assert_no_draw_is_used_twice,
)
from tests.helpers.inputs import draw_inputs

TABLE = {**GATED, **LINEAR, **FAST_WEIGHTS, **OTHERS}
WRAPPED = {"Forced", "PerExample"}  # made from another cell


def public_cells():
    return {
        name
        for name, value in vars(seqmem).items()
        if inspect.isclass(value)
        and issubclass(value, seqmem.AbstractCell)
        and not name.startswith("Abstract")
    }


def arrays_of(tree):
    leaves, _ = jax.tree_util.tree_flatten_with_path(eqx.filter(tree, eqx.is_array))
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf)
        for path, leaf in leaves
    }


def assert_step_keeps_the_shapes(cell):
    x = jax.tree.map(lambda leaf: leaf[0], draw_inputs(cell, np.random.default_rng(0), 1))
    state = eqx.filter_eval_shape(cell.init_state)
    new_state, y = eqx.filter_eval_shape(cell, state, jax.tree.map(np.float32, x))
    assert jax.tree.map(jnp.shape, new_state) == jax.tree.map(jnp.shape, state)
    assert jax.tree.map(jnp.shape, y) == cell.output_shape


def test_table_has_every_public_cell():
    assert public_cells() - WRAPPED == set(TABLE)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_cell_has_the_inputs_and_the_start_of_its_docstring(name):
    cell, rows = make(getattr(seqmem, name)), TABLE[name]
    arrays = arrays_of(cell)
    assert cell.input_shape == input_shape_of(type(cell))
    assert_step_keeps_the_shapes(cell)
    assert set(arrays) == set(rows)
    for array_name, expected in rows.items():
        try:
            assert_drawn(arrays[array_name], expected, cell)
        except AssertionError as error:
            raise AssertionError(f"{array_name} of {name}: {expected}") from error
    assert_no_draw_is_used_twice(arrays, rows, cell)


@pytest.mark.parametrize("name", STRUCTURES)
def test_structure_of_a_recurrent_matrix_starts_as_its_docstring_says(name):
    structure, rows = STRUCTURES[name]
    matrix = structure(jax.random.key(22), (HIDDEN, HIDDEN))
    assert jax.eval_shape(matrix.value).shape == (HIDDEN, HIDDEN)
    arrays = arrays_of(matrix.parameters)
    assert set(arrays) == set(rows)
    for array_name, expected in rows.items():
        assert_drawn(arrays[array_name], expected, matrix)
    assert_no_draw_is_used_twice(arrays, rows, matrix)


@pytest.mark.parametrize(
    ("expected", "draw"),
    [
        (Normal(1), lambda rng: 1.1 * rng.normal(size=2048)),
        (Normal(1), lambda rng: 0.9 * rng.normal(size=2048)),
        (Normal(1), lambda rng: rng.uniform(-(3**0.5), 3**0.5, 2048)),
        (FanIn(), lambda rng: rng.normal(size=(32, 64)) / 32**0.5),
        (Uniform(0, 1), lambda rng: rng.uniform(0, 1.2, 256)),
        (Uniform(0, 1), lambda rng: rng.uniform(0, 0.8, 256)),
        (Uniform(0, 1), lambda rng: rng.uniform(0.2, 1, 256)),
        (Uniform(0, 1), lambda rng: rng.uniform(-0.2, 1, 256)),
        (Uniform(0, 1), lambda rng: rng.uniform(0, 1, 256) ** 1.5),
    ],
)
def test_comparison_notices_another_scale_bound_or_form(expected, draw):
    with pytest.raises(AssertionError):
        assert_drawn(draw(np.random.default_rng(5)), expected, None)
