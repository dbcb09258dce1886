"""Cells whose state is an image: Keras, images of one pixel, axes of space, and refusals."""

import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow

REFERENCE = pathlib.Path(__file__).parent.parent / "reference" / "convolutional.npz"
CELLS = {"ConvLSTM": seqmem.ConvLSTM, "ConvGRU": seqmem.ConvGRU}
VECTOR_CELLS = {"ConvLSTM": seqmem.LSTM, "ConvGRU": seqmem.GRU}
key = jax.random.key(0)


def from_keras(kernel):
    """[*widths, channels, 4 · hidden] as [4, hidden, *widths, channels]."""
    gates = kernel.reshape(*kernel.shape[:-1], 4, -1)
    return jnp.moveaxis(jnp.asarray(gates), (-2, -1), (0, 1))


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("layer", ["ConvLSTM1D", "ConvLSTM2D"])
def test_conv_lstm_equals_keras(layer):
    with np.load(REFERENCE) as file:
        arrays = {
            name.removeprefix(f"{layer}: "): file[name] for name in file if name.startswith(layer)
        }
    xs, weight = (np.moveaxis(arrays[name], 1, 0) for name in ("xs", "weight"))
    *widths, hidden, _ = arrays["recurrent_kernel"].shape
    cell = seqmem.ConvLSTM(xs.shape[2:], hidden, width=widths, key=key)
    weights = (
        from_keras(arrays["kernel"]),
        from_keras(arrays["recurrent_kernel"]),
        jnp.asarray(arrays["bias"].reshape(4, hidden)),
    )
    cell = eqx.tree_at(lambda cell: (cell.W, cell.U, cell.b), cell, weights)

    def loss(cell, xs):
        state, ys = seqmem.unroll(cell, None, xs)
        return (weight * ys).sum(), (state, ys)

    (by_cell, by_xs), (state, ys) = jax.grad(loss, (0, 1), has_aux=True)(cell, jnp.asarray(xs))

    def assert_equal(ours, theirs):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-10)

    assert_equal(jnp.moveaxis(ys, 0, 1), arrays["ys"])
    assert_equal(state.h, arrays["h"])
    assert_equal(state.c, arrays["c"])
    assert_equal(jnp.moveaxis(by_xs, 0, 1), arrays["gradient of xs"])
    assert_equal(by_cell.W, from_keras(arrays["gradient of kernel"]))
    assert_equal(by_cell.U, from_keras(arrays["gradient of recurrent_kernel"]))
    assert_equal(by_cell.b.ravel(), arrays["gradient of bias"])


@pytest.mark.parametrize("name", ["ConvLSTM", slow("ConvGRU")])
def test_image_of_one_pixel_is_a_vector(name):
    """Of a kernel only the centre meets the pixel."""
    cell, vector_cell = CELLS[name]((1, 1, 2), 3, width=(3, 5), key=key), VECTOR_CELLS[name]
    vector_cell = eqx.tree_at(
        lambda vector_cell: (vector_cell.W, vector_cell.U, vector_cell.b),
        vector_cell(2, 3, key=key),
        (cell.W[:, :, 1, 2], cell.U[:, :, 1, 2], cell.b),
    )
    xs = jax.random.normal(key, (5, 2))
    _, ys = seqmem.unroll(cell, None, xs[:, None, None])
    _, expected = seqmem.unroll(vector_cell, None, xs)
    np.testing.assert_allclose(ys[:, 0, 0], expected, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_axis_of_one_pixel_changes_nothing():
    """Three axes of space, one of them of size 1, are two."""
    cell = seqmem.ConvGRU((2, 5, 3), 2, width=(3, 5), key=key)
    widened = seqmem.ConvGRU((2, 1, 5, 3), 2, width=(3, 1, 5), key=key)
    assert widened.W.shape == (3, 2, 3, 1, 5, 3)
    xs = jax.random.normal(key, (3, 2, 5, 3))
    _, ys = seqmem.unroll(cell, None, xs)
    _, with_axis = seqmem.unroll(widened, None, xs[:, :, None])
    np.testing.assert_allclose(with_axis[:, :, 0], ys, rtol=0, atol=1e-6)


@pytest.mark.parametrize("cell_type", CELLS.values())
def test_convolutional_cells_refuse_bad_sizes(cell_type):
    name = cell_type.__name__
    assert_refused(f"{name} got width=4", cell_type, (8, 8, 3), 5, width=4, key=key)
    assert_refused(f"{name} got width=(3, 2)", cell_type, (8, 8, 3), 5, width=(3, 2), key=key)
    assert_refused(f"{name} got width=(3,)", cell_type, (8, 8, 3), 5, width=(3,), key=key)
    assert_refused(f"{name} got width=-1", cell_type, (8, 8, 3), 5, width=-1, key=key)
    assert_refused(f"{name} got input_shape=(3,)", cell_type, (3,), 5, key=key)
    assert_refused(f"{name} got input_shape[1]=0", cell_type, (8, 0, 3), 5, key=key)
    assert_refused(f"{name} got hidden_size=0", cell_type, (8, 8, 3), 0, key=key)
