"""Classes as they are defined, before any of them runs."""

import sys

import equinox as eqx
import jax
import numpy as np

import seqmem


def test_records_and_methods_cannot_be_changed():
    """So that they hash, and are static under jit."""
    modules = [value for name, value in sys.modules.items() if name.startswith("seqmem.")]
    classes = {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and "__dataclass_params__" in vars(value)
    }
    assert {seqmem.Family, seqmem.Problem, seqmem.Scan, seqmem.Solution} < classes
    records = [value for value in classes if not issubclass(value, eqx.Module)]
    assert not [value for value in records if not value.__dataclass_params__.frozen]


def test_newton_stops_after_100_iterations_by_default():
    assert {method().max_iters for method in (seqmem.Newton, seqmem.QuasiNewton)} == {100}


def test_problem_and_tiles_without_options_are_the_plain_ones():
    xs = np.zeros((7, 3))
    cell = seqmem.GRU(3, 5, key=jax.random.key(0))
    problem = seqmem.Problem(cell, cell.init_state(), cell.init_state(), xs)
    assert (problem.time, problem.batch, problem.shares) == (7, (), 1)
    assert not problem.reverse
    assert not problem.return_states
    tiles = seqmem.TileSizes(2, 3, 5)
    assert tiles.backward_unroll == 1
    assert not tiles.separates_steps


def test_three_cells_declare_that_they_write_by_the_delta_rule():
    classes = [value for value in vars(seqmem).values() if isinstance(value, type)]
    cells = [cls for cls in classes if issubclass(cls, seqmem.AbstractFastWeightCell)]
    names = {cls.__name__ for cls in cells if cls.is_delta_rule}
    assert names == {"DeltaRule", "GatedDeltaRule", "KDA"}
