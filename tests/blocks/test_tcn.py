"""Temporal convolutional networks: what a block computes, how far it sees, what is dropped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.blocks import tcn, with_channel_dropout

KEY = jax.random.key(0)
TIME, INPUT, CHANNELS, WIDTH = 31, 3, 5, 2


def made(levels=2, inputs=INPUT):
    """In float64, with biases that are not 0."""
    rng = np.random.default_rng(3)
    net = tcn(inputs, CHANNELS, num_levels=levels, width=WIDTH, key=KEY)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf + 0.1 * rng.normal(size=leaf.shape)), net)


def normal(*shape):
    return np.random.default_rng(7).normal(size=shape)


def convolved(normed, xs):
    """Every tap by itself, over zeros before the first step."""
    V, g, b = (np.asarray(leaf) for leaf in (normed.direction.W, normed.g, normed.direction.b))
    ys = np.tile(b, (len(xs), 1))
    for o in range(len(g)):
        w = g[o] * V[:, o] / np.linalg.norm(V[:, o])
        for t in range(len(xs)):
            for j, tap in enumerate(w):
                if t - normed.direction.dilation * j >= 0:
                    ys[t, o] += tap @ xs[t - normed.direction.dilation * j]
    return ys


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("inputs", [INPUT, CHANNELS])
def test_a_block_is_two_convolutions_beside_its_input(inputs):
    net, xs = made(inputs=inputs), normal(TIME, inputs)
    _, ys = seqmem.unroll(net, net.init_state(), jnp.asarray(xs))
    want = xs
    for level, (branch, join) in enumerate(zip(net.layers[::2], net.layers[1::2], strict=True)):
        assert branch.normed.direction.dilation == join.normed.direction.dilation == 2**level
        h = np.maximum(convolved(branch.normed, want), 0)
        z = np.maximum(convolved(join.normed, h), 0)
        R = np.eye(CHANNELS) if join.R is None else np.asarray(join.R)
        want = np.maximum(z + want @ R.T, 0)
    np.testing.assert_allclose(ys, want, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_an_output_sees_as_far_back_as_its_levels_say(levels):
    net = made(levels)
    # Each weight and input is positive: no ReLU is shut, and no gradient is 0 by chance.
    net = jax.tree.map(jnp.abs, net)
    xs = jnp.asarray(np.abs(normal(TIME, INPUT)))
    d_xs = jax.grad(lambda xs: seqmem.unroll(net, net.init_state(), xs)[1][-1].sum())(xs)
    seen = 1 + 2 * (WIDTH - 1) * (2**levels - 1)
    assert (np.asarray(d_xs).any(-1) == (np.arange(TIME) >= TIME - seen)).all()


@pytest.mark.usefixtures("float64")
def test_the_size_of_the_weights_is_g_alone():
    normed = made().layers[0].normed
    size = jnp.sqrt((normed.conv().W ** 2).sum((0, 2)))
    np.testing.assert_allclose(size, jnp.abs(normed.g), rtol=1e-12)


def test_it_begins_with_the_weights_that_were_drawn():
    normed = tcn(INPUT, CHANNELS, num_levels=1, width=WIDTH, key=KEY).layers[0].normed
    np.testing.assert_allclose(normed.conv().W, normed.direction.W, rtol=1e-6)
    assert 0.9 < jnp.abs(normed.conv().W).max() * np.sqrt(WIDTH * INPUT) <= 1


@pytest.mark.usefixtures("float64")
def test_dropped_channels_are_dropped_at_all_steps_and_the_others_made_up_for():
    net = made()
    xs = jnp.asarray(normal(TIME, INPUT))
    branch, dropped = (
        own.layers[0] for own in (net, with_channel_dropout(net, 0.6, key=jax.random.key(1)))
    )
    (h, _), (thin, beside) = (
        seqmem.unroll(own, own.init_state(), xs)[1] for own in (branch, dropped)
    )
    kept = np.asarray(thin).any(0)
    assert 0 < kept.sum() < CHANNELS
    np.testing.assert_allclose(thin, np.where(kept, 2.5 * h, 0), rtol=1e-12)
    assert np.asarray(h).any(0).all()  # of itself, no channel is shut
    np.testing.assert_array_equal(beside, xs)


def test_nothing_is_dropped_at_a_rate_of_none():
    net = tcn(INPUT, CHANNELS, num_levels=2, width=WIDTH, key=KEY)
    same = with_channel_dropout(net, 0.0, key=KEY)
    for own, other in zip(jax.tree.leaves(net), jax.tree.leaves(same), strict=True):
        np.testing.assert_array_equal(own, other)


def test_every_sequence_may_drop_channels_of_its_own():
    net = tcn(INPUT, CHANNELS, num_levels=2, width=WIDTH, key=KEY)
    xs = jnp.asarray(normal(2, TIME, INPUT), jnp.float32)

    def one(key, xs):
        own = with_channel_dropout(net, 0.5, key=key)
        return seqmem.unroll(own, own.init_state(), xs)[1]

    keys = jax.random.split(jax.random.key(1))
    both = jax.vmap(one)(keys, xs)
    for ys, key, x in zip(both, keys, xs, strict=True):
        np.testing.assert_allclose(ys, one(key, x), atol=1e-6)
    assert not np.allclose(one(keys[0], xs[0]), one(keys[1], xs[0]))


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_that_is_none_is_refused(rate):
    net = tcn(INPUT, CHANNELS, num_levels=1, width=WIDTH, key=KEY)
    with pytest.raises(ValueError, match=rf"rate={rate}.*\n.*0 <= rate < 1.*\n.*leave"):
        with_channel_dropout(net, rate, key=KEY)


def test_a_network_of_no_levels_is_refused():
    with pytest.raises(ValueError, match=r"levels=0.*\n.*at least 1.*\n.*longest lag"):
        tcn(INPUT, CHANNELS, num_levels=0, width=WIDTH, key=KEY)


def test_channels_of_another_stack_are_not_dropped():
    net = seqmem.layers.Stack([seqmem.CausalConv(INPUT, CHANNELS, width=WIDTH, key=KEY)])
    with pytest.raises(
        ValueError, match=r"CausalConv.*\n.*blocks.tcn made.*\n.*before it is stacked"
    ):
        with_channel_dropout(net, 0.5, key=KEY)
