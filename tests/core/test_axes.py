"""Which axes are time, batch and one input: tokens, vectors, images and trees."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import seqmem
from tests.helpers.unrolling import (
    BATCH,
    HIDDEN,
    INPUT,
    REFERENCE,
    TIME,
    close,
    every_method,
    gradients,
    make,
    normal,
)

pytestmark = pytest.mark.usefixtures("float64")


def test_unroll_runs_every_sequence_of_two_batch_axes():
    cell, xs = make(seqmem.LSTM), normal(TIME, 2, BATCH, INPUT)
    lengths = np.array([[7, 0, 3], [5, 1, 2]])
    resets = normal(TIME, 2, BATCH) > 0.5
    state = jax.tree.map(lambda _: normal(2, BATCH, HIDDEN), cell.init_state())
    got = seqmem.unroll(cell, state, xs, lengths=lengths, resets=resets, reverse=True)
    assert got[0].c.shape == (2, BATCH, HIDDEN)
    assert got[1].shape == (TIME, 2, BATCH, HIDDEN)
    for i in range(2):
        for j in range(BATCH):
            one_state = jax.tree.map(lambda leaf: leaf[i, j], state)  # noqa: B023
            final, ys = seqmem.unroll(
                cell,
                one_state,
                xs[:, i, j],
                lengths=lengths[i, j],
                resets=resets[:, i, j],
                reverse=True,
            )
            close(final, jax.tree.map(lambda leaf: leaf[i, j], got[0]))  # noqa: B023
            close(ys, got[1][:, i, j])


def test_gradients_over_two_batch_axes_match_one_flat_axis():
    cell, xs = make(), normal(TIME, 2, BATCH, INPUT)
    lengths = np.array([[7, 0, 3], [5, 1, 2]])
    state = normal(2, BATCH, HIDDEN)
    two = gradients(cell, state, xs, lengths=lengths)
    one = gradients(
        cell, state.reshape(6, HIDDEN), xs.reshape(TIME, 6, INPUT), lengths=lengths.reshape(6)
    )
    close(two[0], one[0])
    close(two[1].reshape(6, HIDDEN), one[1])
    close(two[2].reshape(TIME, 6, INPUT), one[2])


@pytest.mark.slow
@every_method
def test_state_without_batch_axes_is_shared_by_all_examples(method):
    cell, xs, state = make(), normal(TIME, BATCH, INPUT), normal(HIDDEN)
    batched = np.broadcast_to(state, (BATCH, HIDDEN))
    close(
        seqmem.unroll(cell, state, xs, method=method),
        seqmem.unroll(cell, batched, xs, method=method),
    )
    shared, full = (gradients(cell, s, xs, method=method) for s in (state, batched))
    close(shared, (full[0], full[1].sum(0), full[2]))


def test_each_state_leaf_may_be_shared_or_batched():
    cell, xs = make(seqmem.LSTM), normal(TIME, BATCH, INPUT)
    mixed = cell.init_state()._replace(h=normal(BATCH, HIDDEN))
    full = mixed._replace(c=np.zeros((BATCH, HIDDEN)))
    close(seqmem.unroll(cell, mixed, xs), seqmem.unroll(cell, full, xs))


def test_state_size_equal_to_the_batch_is_not_mistaken_for_it():
    cell, xs = make(), normal(TIME, HIDDEN, INPUT)
    state = normal(HIDDEN)
    final, _ = seqmem.unroll(cell, state, xs)
    for example in range(HIDDEN):
        close(seqmem.unroll(cell, state, xs[:, example])[0], final[example])


class Embedding(seqmem.AbstractCell):
    """A cell whose input is a token."""

    input_shape: ClassVar = ()

    E: Array

    def __init__(self):
        self.E = jnp.asarray(normal(11, HIDDEN))

    def init_state(self):
        return jnp.zeros(HIDDEN, self.E.dtype)

    def project(self, token):
        return self.E[token]

    def update(self, h, u):
        return jnp.tanh(0.5 * h + u)

    def readout(self, h, u):
        return h


def test_token_input_has_no_feature_axis():
    cell = Embedding()
    tokens = np.random.default_rng(0).integers(0, 11, (TIME, BATCH))
    final, ys = seqmem.unroll(cell, None, tokens, lengths=np.array([7, 4, 0]))
    assert (final.shape, ys.shape) == ((BATCH, HIDDEN), (TIME, BATCH, HIDDEN))
    alone, _ = seqmem.unroll(cell, None, tokens[:4, 1])
    close(alone, final[1])


@pytest.mark.slow
def test_token_cell_passes_every_law():
    report = seqmem.testing.check_cell(Embedding(), jnp.array(10), methods=[seqmem.Scan()])
    assert set(report.values()) == {"holds"}


class Convolution(seqmem.AbstractCell):
    """A cell whose input and state are images."""

    input_shape: ClassVar = (5, 7, 2)

    K: Array

    def __init__(self):
        self.K = jnp.asarray(0.3 * normal(3, 3, 2, 2))

    def init_state(self):
        return jnp.zeros((5, 7, 2), self.K.dtype)

    def project(self, image):
        return image

    def update(self, h, u):
        dimensions = ("NHWC", "HWIO", "NHWC")
        mixed = jax.lax.conv_general_dilated(
            (h + u)[None], self.K, (1, 1), "SAME", dimension_numbers=dimensions
        )
        return jnp.tanh(mixed[0])

    def readout(self, h, u):
        return h.mean((0, 1))


@pytest.mark.slow
def test_image_input_has_three_axes():
    cell = Convolution()
    xs = normal(TIME, BATCH, 5, 7, 2)
    final, ys = seqmem.unroll(cell, None, xs)
    assert (final.shape, ys.shape) == ((BATCH, 5, 7, 2), (TIME, BATCH, 2))
    close(seqmem.unroll(cell, None, xs[:, 1])[0], final[1])
    d_cell, _, d_xs = gradients(cell, final, xs)
    want, _, d_want = gradients(cell, final, xs, method=REFERENCE)
    close((d_cell, d_xs), (want, d_want))


class Sensors(seqmem.AbstractCell):
    """A cell whose input is a tree of an image, a token and a vector."""

    input_shape: ClassVar = {"image": (3, 5), "name": (), "wheel": (INPUT,)}

    W: Array

    def __init__(self):
        self.W = jnp.asarray(normal(HIDDEN, INPUT))

    def init_state(self):
        return {"h": jnp.zeros(HIDDEN, self.W.dtype), "steps": jnp.zeros((), jnp.int32)}

    def project(self, x):
        return self.W @ x["wheel"] + x["image"].mean() * x["name"].astype(self.W.dtype)

    def update(self, state, u):
        return {"h": jnp.tanh(0.5 * state["h"] + u), "steps": state["steps"] + 1}

    def readout(self, state, u):
        return state["h"]


def test_input_may_be_a_tree_and_state_may_hold_an_integer():
    cell = Sensors()
    xs = {
        "image": normal(TIME, BATCH, 3, 5),
        "name": np.arange(TIME * BATCH).reshape(TIME, BATCH) % 2,
        "wheel": normal(TIME, BATCH, INPUT),
    }
    lengths = np.array([7, 4, 0])
    final, ys = seqmem.unroll(cell, None, xs, lengths=lengths, remat_every=3)
    np.testing.assert_array_equal(final["steps"], lengths)
    one = jax.tree.map(lambda leaf: leaf[:4, 1], xs)
    close(seqmem.unroll(cell, None, one)[1], ys[:4, 1])
