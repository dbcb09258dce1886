"""One vector for a sequence: the valid steps make it, and nothing else does."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmem.layers import pooling

TIME, BATCH, SIZE = 7, 4, 5
LENGTHS = np.array([TIME, 3, 1, 0])
PADDED = np.arange(TIME)[:, None] >= LENGTHS


def normal(*shape):
    return np.random.default_rng(3).normal(size=shape)


def attention():
    own = pooling.Attention(SIZE)
    return eqx.tree_at(lambda pool: pool.query, own, jnp.asarray(normal(SIZE)))


POOLS = {"last": lambda: pooling.last, "mean": lambda: pooling.mean, "attention": attention}
every_pool = pytest.mark.parametrize("name", POOLS)


def by_hand(name, ys):
    """Of the steps of one sequence that are valid."""
    if not len(ys):
        return np.zeros(SIZE)
    weights = np.exp(ys @ normal(SIZE))
    return {
        "last": lambda: ys[-1],
        "mean": lambda: ys.mean(0),
        "attention": lambda: (weights[:, None] * ys).sum(0) / weights.sum(),
    }[name]()


@pytest.mark.usefixtures("float64")
@every_pool
def test_the_valid_steps_are_pooled(name):
    ys = normal(TIME, BATCH, SIZE)
    want = [by_hand(name, ys[:length, i]) for i, length in enumerate(LENGTHS)]
    pool = POOLS[name]()
    got = jax.jit(lambda ys: pool(ys, LENGTHS))(jnp.asarray(ys))
    np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.usefixtures("float64")
@every_pool
def test_without_lengths_all_steps_are_valid_also_of_one_sequence(name):
    ys = normal(TIME, SIZE)
    got = POOLS[name]()(jnp.asarray(ys))
    np.testing.assert_allclose(got, by_hand(name, ys), rtol=1e-12)


@pytest.mark.usefixtures("float64")
@every_pool
@pytest.mark.parametrize("poison", [np.nan, np.inf, 1e300])
def test_padding_is_never_read_nor_in_the_gradients(name, poison):
    weights = normal(BATCH, SIZE)

    @eqx.filter_jit
    def told(pool, ys, lengths):
        def loss(arrays, ys):
            return (weights * eqx.combine(arrays, still)(ys, lengths)).sum()

        arrays, still = eqx.partition(pool, eqx.is_array)
        return jax.value_and_grad(loss, (0, 1))(arrays, ys)

    ys = normal(TIME, BATCH, SIZE)
    clean = told(POOLS[name](), ys, LENGTHS)
    spoilt = told(POOLS[name](), np.where(PADDED[..., None], poison, ys), LENGTHS)
    for own, other in zip(jax.tree.leaves(spoilt), jax.tree.leaves(clean), strict=True):
        np.testing.assert_array_equal(own, other)
    d_ys = np.asarray(clean[1][1])
    assert not d_ys[PADDED].any()
    assert np.isfinite(d_ys).all()
    assert d_ys[TIME - 1, 0].all()


@pytest.mark.usefixtures("float64")
def test_attention_does_not_overflow():
    pool = attention()
    ys = jnp.asarray(1e4 * normal(TIME, BATCH, SIZE))
    got = np.asarray(pool(ys, LENGTHS))
    chosen = np.where(PADDED, -np.inf, np.asarray(ys @ pool.query)).argmax(0)
    np.testing.assert_allclose(got[:3], np.asarray(ys)[chosen, np.arange(BATCH)][:3], rtol=1e-12)


@pytest.mark.usefixtures("float64")
def test_attention_begins_as_the_mean():
    ys = jnp.asarray(normal(TIME, BATCH, SIZE))
    got = pooling.Attention(SIZE)(ys, LENGTHS)
    np.testing.assert_allclose(got, pooling.mean(ys, LENGTHS), rtol=1e-12)


@every_pool
def test_lengths_that_do_not_fit_are_refused(name):
    ys = jnp.ones((TIME, BATCH, SIZE))
    with pytest.raises(ValueError, match=r"lengths lie between 1 and 8.*\n.*<= 7"):
        POOLS[name]()(ys, np.array([1, 8, 2, 3]))
    with pytest.raises(ValueError, match=r"lengths is int.* of shape \(2,\)"):
        POOLS[name]()(ys, np.array([1, 2]))
    with pytest.raises(ValueError, match=r"ys has shape \(7,\).*\n.*at least 2 axes"):
        POOLS[name]()(ys[:, 0, 0])


def test_a_query_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"ys has shape \(7, 3\).*\n.*5, the size of the query"):
        pooling.Attention(SIZE)(jnp.ones((TIME, 3)))
