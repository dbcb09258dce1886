"""Dropout of recurrent weights: which are dropped, their gradients, cells of a user."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import with_weight_dropout
from tests.helpers.refusals import assert_refused

KEY, MASK_KEY = jax.random.split(jax.random.key(0))
TIME, INPUT, HIDDEN = 7, 2, 5
RATE = 0.5
GATED = {
    "RNN": seqmem.RNN,
    "LSTM": seqmem.LSTM,
    "PeepholeLSTM": seqmem.PeepholeLSTM,
    "GRU": seqmem.GRU,
    "IndRNN": seqmem.IndRNN,
    "SLSTM": seqmem.SLSTM,
    "ProjectedLSTM": lambda *sizes, key: seqmem.ProjectedLSTM(*sizes, output_size=3, key=key),
}


@pytest.mark.parametrize("name", [*GATED, "MGU", "ResetBeforeGRU"])
def test_weight_dropout_drops_recurrent_weights_and_no_others(name):
    make = GATED.get(name) or getattr(seqmem, name)
    cell = make(INPUT, HIDDEN, key=KEY)
    recurrent = "u" if name == "IndRNN" else "U"
    dropped = with_weight_dropout(cell, 0.75, key=MASK_KEY)
    pairs = zip(jax.tree.leaves_with_path(cell), jax.tree.leaves(dropped), strict=True)
    for (path, weights), leaf in pairs:
        if jax.tree_util.keystr(path) == f".{recurrent}":
            mask = np.asarray(leaf) != 0
            assert 0 < mask.sum() < mask.size
            np.testing.assert_allclose(leaf, np.where(mask, 4 * weights, 0), rtol=1e-6)
        else:
            np.testing.assert_array_equal(leaf, weights)


@pytest.mark.usefixtures("float64")
def test_weight_dropout_reaches_a_wrapped_cell_and_dropped_weights_have_no_gradient():
    cell = seqmem.with_learned_state(seqmem.GRU(INPUT, HIDDEN, key=KEY))
    cell = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), cell)
    xs = np.random.default_rng(2).normal(size=(TIME, INPUT))

    def loss(cell):
        dropped = with_weight_dropout(cell, RATE, key=MASK_KEY)
        return seqmem.unroll(dropped, None, xs)[1].sum()

    mask = with_weight_dropout(cell, RATE, key=MASK_KEY).cell.U != 0
    np.testing.assert_array_equal(jax.grad(loss)(cell).cell.U != 0, mask)


class UserCell(seqmem.AbstractCell):
    """A cell with a parameter u that does not multiply the state."""

    u: jax.Array
    V: jax.Array

    def init_state(self):
        return jnp.zeros(self.u.shape)

    def project(self, x):
        return self.u * x[0]

    def update(self, h, drive):
        return jnp.tanh(self.V @ h + drive)

    def readout(self, h, drive):
        return h


class UserCellWithNames(UserCell):
    recurrent_weights = ("V",)


def test_weight_dropout_refuses_a_cell_that_names_no_recurrent_weights():
    parameters = jnp.ones(HIDDEN), jnp.ones((HIDDEN, HIDDEN))
    message = "with_weight_dropout got a UserCell, which names no recurrent weights."
    assert_refused(message, with_weight_dropout, UserCell(*parameters), RATE, key=MASK_KEY)
    dropped = with_weight_dropout(UserCellWithNames(*parameters), RATE, key=MASK_KEY)
    np.testing.assert_array_equal(dropped.u, 1)
    assert set(np.unique(dropped.V)) == {0, 1 / (1 - RATE)}
