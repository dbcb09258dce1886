"""Recurrent weights by gain, by spectral radius and by initialiser: which change, and refusals."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import with_gain, with_recurrent_weights, with_spectral_radius
from tests.helpers.refusals import assert_refused

KEY, DRAW_KEY = jax.random.split(jax.random.key(0))
INPUT, HIDDEN = 2, 5


def changed_leaves(cell, other):
    pairs = zip(jax.tree.leaves_with_path(cell), jax.tree.leaves(other), strict=True)
    return {jax.tree_util.keystr(path) for (path, a), b in pairs if not np.array_equal(a, b)}


def test_gain_multiplies_recurrent_weights_and_no_others():
    cell = seqmem.RNN(INPUT, HIDDEN, key=KEY)
    scaled = with_gain(cell, 0.5)
    assert changed_leaves(cell, scaled) == {".U"}
    np.testing.assert_array_equal(scaled.U, 0.5 * cell.U)
    wrapped = with_gain(seqmem.with_learned_state(cell), 0.5)
    np.testing.assert_array_equal(wrapped.cell.U, 0.5 * cell.U)


@pytest.mark.slow
def test_gain_multiplies_every_recurrent_weight():
    cell = seqmem.MultiplicativeLSTM(INPUT, HIDDEN, key=KEY)
    scaled = with_gain(cell, 0.5)
    assert changed_leaves(cell, scaled) == {".U", ".R"}
    np.testing.assert_array_equal(scaled.R, 0.5 * cell.R)
    vector = seqmem.IndRNN(INPUT, HIDDEN, key=KEY)
    np.testing.assert_array_equal(with_gain(vector, 0.5).u, 0.5 * vector.u)


def test_gain_may_be_traced():
    cell = seqmem.RNN(INPUT, HIDDEN, key=KEY)
    slope = jax.jit(jax.grad(lambda gain: with_gain(cell, gain).U.sum()))(2.0)
    np.testing.assert_allclose(slope, cell.U.sum(), rtol=1e-5)


def test_spectral_radius_is_that_of_each_gate():
    cell = seqmem.GRU(INPUT, HIDDEN, key=KEY)
    U = jax.random.normal(DRAW_KEY, cell.U.shape) * jnp.array([1.0, 2, 3])[:, None, None]
    cell = with_spectral_radius(eqx.tree_at(lambda tree: tree.U, cell, U), 0.9)
    assert changed_leaves(cell, seqmem.GRU(INPUT, HIDDEN, key=KEY)) == {".U"}
    radii = np.abs(np.linalg.eigvals(np.asarray(cell.U))).max(1)
    np.testing.assert_allclose(radii, 0.9, rtol=1e-5)
    np.testing.assert_allclose(cell.U[1] / U[1], (cell.U[1] / U[1])[0, 0], rtol=1e-5)


@pytest.mark.slow
def test_initialiser_draws_every_gate_by_itself_with_the_fan_in_of_its_columns():
    cell = seqmem.ProjectedLSTM(INPUT, 300, output_size=20, key=KEY)
    gaussian = jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal")
    drawn = with_recurrent_weights(cell, gaussian, key=DRAW_KEY)
    assert changed_leaves(cell, drawn) == {".U"}
    np.testing.assert_allclose(drawn.U.var((1, 2)), 1 / 20, rtol=0.1)
    assert len(np.unique(np.asarray(drawn.U)[:, 0, 0])) == 4
    cell = seqmem.MultiplicativeLSTM(INPUT, HIDDEN, key=KEY)
    drawn = with_recurrent_weights(cell, gaussian, key=DRAW_KEY)
    assert not np.isin(np.asarray(drawn.R), np.asarray(drawn.U)).any()


def test_identity_is_an_initialiser():
    cell = seqmem.RNN(INPUT, HIDDEN, activation=jax.nn.relu, key=KEY)
    irnn = with_recurrent_weights(
        cell, lambda key, shape, dtype: jnp.eye(*shape, dtype=dtype), key=DRAW_KEY
    )
    np.testing.assert_array_equal(irnn.U, np.eye(HIDDEN))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan")])
def test_scale_that_is_not_finite_and_above_0_is_refused(scale):
    cell = seqmem.RNN(INPUT, HIDDEN, key=KEY)
    assert_refused(f"with_gain got gain={scale!r}.", with_gain, cell, scale)
    assert_refused("with_spectral_radius got radius", with_spectral_radius, cell, scale)


def test_cells_without_recurrent_weights_are_refused():
    cell = seqmem.MinGRU(INPUT, HIDDEN, key=KEY)
    orthogonal = jax.nn.initializers.orthogonal()
    assert_refused("with_gain got a MinGRU, which names", with_gain, cell, 0.9)
    assert_refused("with_spectral_radius got a MinGRU", with_spectral_radius, cell, 0.9)
    message = "with_recurrent_weights got a MinGRU"
    assert_refused(message, with_recurrent_weights, cell, orthogonal, key=KEY)


@pytest.mark.slow
def test_cells_without_square_recurrent_matrices_are_refused():
    # With as many units as gates, u of a ParaGRU looks like a matrix.
    for cell in (
        seqmem.ParaGRU(INPUT, 3, key=KEY),
        seqmem.IndRNN(INPUT, HIDDEN, key=KEY),
        seqmem.ConvGRU((7, 2), 3, key=KEY),
    ):
        message = f"with_spectral_radius got a {type(cell).__name__}, whose "
        assert_refused(message, with_spectral_radius, cell, 0.9)
    wide = seqmem.ProjectedLSTM(INPUT, HIDDEN, output_size=3, key=KEY)
    message = "with_spectral_radius got a ProjectedLSTM whose U has"
    assert_refused(message, with_spectral_radius, wide, 0.9)


def test_matrices_that_cannot_be_scaled_are_refused():
    cell = seqmem.GRU(INPUT, HIDDEN, key=KEY)
    nilpotent = eqx.tree_at(lambda tree: tree.U, cell, cell.U.at[1].set(jnp.eye(HIDDEN, k=1)))
    message = "with_spectral_radius got a GRU whose U has only eigenvalues of 0."
    assert_refused(message, with_spectral_radius, nilpotent, 0.9)
    structured = seqmem.RNN(INPUT, HIDDEN, recurrent=seqmem.Dense(), key=KEY)
    message = "got a RNN whose U is a StructuredMatrix."
    assert_refused(f"with_gain {message}", with_gain, structured, 0.9)
    assert_refused(f"with_spectral_radius {message}", with_spectral_radius, structured, 0.9)


def test_what_is_no_initialiser_is_refused():
    cell = seqmem.RNN(INPUT, HIDDEN, key=KEY)
    message = "with_recurrent_weights got initialiser='orthogonal'."
    assert_refused(message, with_recurrent_weights, cell, "orthogonal", key=KEY)

    def vector(key, shape, dtype):
        return jnp.ones(shape[0], dtype)

    message = "with_recurrent_weights got an initialiser that returned the shape (5,)."
    assert_refused(message, with_recurrent_weights, cell, vector, key=KEY)
