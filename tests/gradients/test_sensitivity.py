"""Sensitivity of predictions to the parameters, against finite differences."""

import jax
import numpy as np
import pytest

import seqmem
from seqmem import gradients
from seqmem._core.trees import tree_norm
from tests.helpers.cells import CELLS
from tests.helpers.slow import slow

TIME, BATCH, INPUT = 7, 3, 2

pytestmark = pytest.mark.usefixtures("float64")


def predict(cell, xs, method):
    return seqmem.unroll(cell, None, xs, method=method)[1]


@pytest.mark.parametrize("name", ["LSTM", slow("Stack")])
def test_sensitivity_is_a_difference_of_predictions(name):
    cell = CELLS[name]()
    xs = np.random.default_rng(1).normal(size=(TIME, BATCH, INPUT))
    direction = gradients.random_direction(jax.random.key(1), cell)
    np.testing.assert_allclose(tree_norm(direction), 1, rtol=1e-12)

    def moved(epsilon):
        model = jax.tree.map(lambda w, d: w + epsilon * d, cell, direction)
        return predict(model, xs, seqmem.ReferenceScan())

    difference = (moved(1e-5) - moved(-1e-5)) / 2e-5
    norms = gradients.sensitivity(predict, leading=2)(cell, direction, xs)
    np.testing.assert_allclose(norms, np.linalg.norm(difference, axis=-1), rtol=1e-6)
    over_batch = gradients.sensitivity(predict)(cell, direction, xs)
    np.testing.assert_allclose(over_batch, np.linalg.norm(difference, axis=(1, 2)), rtol=1e-6)
