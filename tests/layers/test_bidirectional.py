"""Two cells from both ends of a sequence; PyTorch's layers are compared in test_torch.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.helpers.unrolling import BATCH, HIDDEN, INPUT, TIME, normal

import seqmem
from seqmem.layers import Bidirectional

LENGTHS = np.array([TIME, 4, 0])
PADDED = np.arange(TIME)[:, None] >= LENGTHS

pytestmark = pytest.mark.usefixtures("float64")


def layer():
    forward, backward = jax.random.split(jax.random.key(0))
    both = seqmem.LSTM(INPUT, HIDDEN, key=forward), seqmem.MinGRU(INPUT, 3, key=backward)
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float64), Bidirectional(*both))


@jax.jit
def told(own, state, xs, lengths):
    """All that it returns, and all gradients of it."""

    def loss(own, state, xs):
        out = own(state, xs, lengths=lengths)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(out)), out

    return jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(own, state, xs)


def test_a_sequence_in_a_batch_is_the_sequence_alone_and_backward_is_flipped():
    own, xs = layer(), normal(TIME, BATCH, INPUT)
    states, ys = own(own.init_state(), xs, lengths=LENGTHS)
    for i, length in enumerate(LENGTHS):
        alone = xs[:length, i]
        first, ahead = seqmem.unroll(own.forward, own.forward.init_state(), alone)
        last, back = seqmem.unroll(own.backward, own.backward.init_state(), alone[::-1])
        np.testing.assert_allclose(ys[:length, i, :HIDDEN], ahead, rtol=1e-12)
        np.testing.assert_allclose(ys[:length, i, HIDDEN:], back[::-1], rtol=1e-12)
        assert not ys[length:, i].any()
        np.testing.assert_allclose(states[0].c[i], first.c, rtol=1e-12)
        np.testing.assert_allclose(states[1][i], last, rtol=1e-12)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_padding_is_never_read(poison):
    own, xs = layer(), normal(TIME, BATCH, INPUT)
    spoilt = np.where(PADDED[..., None], poison, xs)
    clean, dirty = (told(own, own.init_state(), given, LENGTHS) for given in (xs, spoilt))
    for one, other in zip(jax.tree.leaves(dirty), jax.tree.leaves(clean), strict=True):
        np.testing.assert_array_equal(one, other)


def test_resets_cut_it_into_the_sequences_that_were_packed():
    own, xs = layer(), normal(TIME, INPUT)
    resets = np.arange(TIME) == 3
    _, ys = own(own.init_state(), xs, resets=resets)
    parts = [own(own.init_state(), part)[1] for part in (xs[:3], xs[3:])]
    np.testing.assert_allclose(ys, np.concatenate(parts), rtol=1e-12)


def test_what_is_no_cell_or_no_state_of_two_is_refused():
    with pytest.raises(ValueError, match=r"Bidirectional got \['LSTM', 'function'.*\n.*two cells"):
        Bidirectional(layer().forward, seqmem.unroll)
    with pytest.raises(ValueError, match=r"state is a tree.*\n.*states of both"):
        layer()(layer().forward.init_state().h, normal(TIME, INPUT))
