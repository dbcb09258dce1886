"""Temporal convolutional networks: a residual block, the receptive field, and channel dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.blocks import tcn, with_channel_dropout

KEY = jax.random.key(0)
TIME, INPUT, CHANNELS, WIDTH = 31, 3, 5, 2


def draw_net(levels=2, inputs=INPUT):
    """A network in float64, with biases that are not 0."""
    rng = np.random.default_rng(3)
    net = tcn(inputs, CHANNELS, num_levels=levels, width=WIDTH, key=KEY)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf + 0.1 * rng.normal(size=leaf.shape)), net)


def normal(*shape):
    return np.random.default_rng(7).normal(size=shape)


def convolve(normed, xs):
    """A convolution tap by tap, over zeros before the first step."""
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
def test_residual_block_matches_two_convolutions_plus_its_input(inputs):
    net, xs = draw_net(inputs=inputs), normal(TIME, inputs)
    _, ys = seqmem.unroll(net, net.init_state(), jnp.asarray(xs))
    want = xs
    for level, (branch, join) in enumerate(zip(net.layers[::2], net.layers[1::2], strict=True)):
        assert branch.normed.direction.dilation == join.normed.direction.dilation == 2**level
        h = np.maximum(convolve(branch.normed, want), 0)
        z = np.maximum(convolve(join.normed, h), 0)
        R = np.eye(CHANNELS) if join.R is None else np.asarray(join.R)
        want = np.maximum(z + want @ R.T, 0)
    np.testing.assert_allclose(ys, want, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_receptive_field_grows_with_the_levels(levels):
    net = draw_net(levels)
    # Each weight and input is positive: no ReLU is shut, and no gradient is 0 by chance.
    net = jax.tree.map(jnp.abs, net)
    xs = jnp.asarray(np.abs(normal(TIME, INPUT)))
    d_xs = jax.grad(lambda xs: seqmem.unroll(net, net.init_state(), xs)[1][-1].sum())(xs)
    seen = 1 + 2 * (WIDTH - 1) * (2**levels - 1)
    assert (np.asarray(d_xs).any(-1) == (np.arange(TIME) >= TIME - seen)).all()


@pytest.mark.usefixtures("float64")
def test_norm_of_the_weights_is_g():
    normed = draw_net().layers[0].normed
    size = jnp.sqrt((normed.conv().W ** 2).sum((0, 2)))
    np.testing.assert_allclose(size, jnp.abs(normed.g), rtol=1e-12)


@pytest.mark.slow
def test_weight_normalisation_keeps_the_initial_weights():
    normed = tcn(INPUT, CHANNELS, num_levels=1, width=WIDTH, key=KEY).layers[0].normed
    np.testing.assert_allclose(normed.conv().W, normed.direction.W, rtol=1e-6)
    assert 0.9 < jnp.abs(normed.conv().W).max() * np.sqrt(WIDTH * INPUT) <= 1


@pytest.mark.usefixtures("float64")
def test_channel_dropout_drops_a_channel_at_all_steps_and_scales_the_others():
    net = draw_net()
    xs = jnp.asarray(normal(TIME, INPUT))
    dropped_net = with_channel_dropout(net, 0.6, key=jax.random.key(1))
    _, (h, _) = seqmem.unroll(net.layers[0], None, xs)
    _, (dropped_h, passed_x) = seqmem.unroll(dropped_net.layers[0], None, xs)
    assert np.asarray(h).any(0).all()  # without dropout, no channel is 0 at all steps
    is_kept = np.asarray(dropped_h).any(0)
    assert 0 < is_kept.sum() < CHANNELS
    np.testing.assert_allclose(dropped_h, np.where(is_kept, 2.5 * h, 0), rtol=1e-12)
    np.testing.assert_array_equal(passed_x, xs)


def test_dropout_rate_of_0_keeps_the_network():
    net = tcn(INPUT, CHANNELS, num_levels=2, width=WIDTH, key=KEY)
    same = with_channel_dropout(net, 0.0, key=KEY)
    for want, got in zip(jax.tree.leaves(net), jax.tree.leaves(same), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.slow
def test_vmap_over_keys_drops_other_channels_in_each_sequence():
    net = tcn(INPUT, CHANNELS, num_levels=2, width=WIDTH, key=KEY)
    xs = jnp.asarray(normal(2, TIME, INPUT), jnp.float32)

    def run(key, xs):
        return seqmem.unroll(with_channel_dropout(net, 0.5, key=key), None, xs)[1]

    keys = jax.random.split(jax.random.key(1))
    both = jax.vmap(run)(keys, xs)
    for ys, key, x in zip(both, keys, xs, strict=True):
        np.testing.assert_allclose(ys, run(key, x), atol=1e-6)
    assert not np.allclose(run(keys[0], xs[0]), run(keys[1], xs[0]))


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_rate_out_of_range_is_refused(rate):
    net = tcn(INPUT, CHANNELS, num_levels=1, width=WIDTH, key=KEY)
    with pytest.raises(ValueError, match=rf"rate={rate}.*\n.*0 <= rate < 1.*\n.*leave"):
        with_channel_dropout(net, rate, key=KEY)


def test_network_of_0_levels_is_refused():
    with pytest.raises(ValueError, match=r"levels=0.*\n.*at least 1.*\n.*longest lag"):
        tcn(INPUT, CHANNELS, num_levels=0, width=WIDTH, key=KEY)


def test_channel_dropout_of_another_stack_is_refused():
    net = seqmem.layers.Stack([seqmem.CausalConv(INPUT, CHANNELS, width=WIDTH, key=KEY)])
    with pytest.raises(
        ValueError, match=r"CausalConv.*\n.*blocks.tcn made.*\n.*before it is stacked"
    ):
        with_channel_dropout(net, 0.5, key=KEY)
