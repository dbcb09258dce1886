"""Attention with a cache: all steps at once against step by step, prefill, resets, a full cache."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem._cells.attention.family import Tokens
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow
from tests.helpers.windows import KEY, TIME, close, in_float64, normal

BATCH, CAPACITY = 3, 29
AUTODIFF = seqmem.ReferenceScan()
float64 = pytest.mark.usefixtures("float64")
make = functools.partial(
    seqmem.CausalAttention, 3, num_heads=4, num_key_value_heads=2, head_size=6, key=KEY
)


def make_with_everything(positions=seqmem.RoPE(size=4), capacity=CAPACITY):
    options = {"norm_qk": True, "gated": True, "bias": True, "output_bias": True, "scale": 0.3}
    return make(capacity=capacity, positions=positions, **options)


@pytest.mark.parametrize(
    ("positions", "has_resets", "reverse"),
    [
        slow(seqmem.RoPE(size=4), True, True),
        slow(seqmem.RoPE(size=4), False, False),
        slow(seqmem.ALiBi(), True, False),
        slow(None, False, True),
    ],
    ids=repr,
)
@float64
def test_attention_at_once_matches_step_by_step(positions, has_resets, reverse):
    """From a cache with two tokens, in chunks that do not divide the time."""
    cell = in_float64(make_with_everything(positions))
    xs = normal(TIME, BATCH, 3)
    state = seqmem.unroll(cell, None, normal(2, BATCH, 3))[0]
    lengths = np.array([TIME, TIME // 2, 0])
    resets = np.random.default_rng(1).random((TIME, BATCH)) < 0.2 if has_resets else None

    def compute(method):
        def loss(cell, state, xs):
            out = seqmem.unroll(
                cell, state, xs, lengths=lengths, resets=resets, reverse=reverse, method=method
            )
            floats = (*out[0][:2], out[1])
            return sum(jnp.sum(jnp.sin(leaf)) for leaf in floats), out

        return jax.grad(loss, (0, 2), has_aux=True)(cell, state, xs)

    close(compute(seqmem.Parallel(chunk_size=5)), compute(AUTODIFF))


@float64
def test_prefill_and_single_steps_match_the_whole():
    cell = in_float64(make_with_everything())
    xs = normal(TIME, 3)
    expected_state, expected = seqmem.unroll(cell, None, xs)
    state, ys = seqmem.unroll(cell, None, xs[:17])
    step = jax.jit(lambda state, x: cell(state, x))
    for t in range(17, TIME):
        state, y = step(state, xs[t])
        ys = jnp.concatenate([ys, y[None]])
    close((state, ys), (expected_state, expected))


@pytest.mark.slow
@float64
@pytest.mark.parametrize("scaling", [None, seqmem.Llama3Scaling(2.0, original_length=16)], ids=repr)
def test_other_positions_with_the_same_differences_change_nothing(scaling):
    cell = in_float64(make(capacity=1000, positions=seqmem.RoPE(size=4, scaling=scaling)))
    drives = jax.vmap(cell.project)(normal(TIME, 3))

    def outputs(position):
        key, value = cell.entry(drives, position)
        tokens = Tokens(key, value, position, None, position, None, TIME)
        return cell.readout_sequence(tokens, drives)

    steps = jnp.arange(TIME)
    close(outputs(steps + 900), outputs(steps))
    assert np.abs(outputs(2 * steps) - outputs(steps)).max() > 1e-3


def test_cache_holds_the_tokens_of_the_last_sequence():
    cell = make(capacity=CAPACITY)
    xs, resets = normal(TIME, 3), np.arange(TIME) == 11
    state, _ = seqmem.unroll(cell, None, xs, resets=resets, lengths=np.array(20))
    assert int(state.num_tokens) == 9
    expected, _ = seqmem.unroll(cell, None, xs[11:20])
    np.testing.assert_allclose(state.key, expected.key, atol=1e-6)
    assert (np.abs(state.value[:9]).min((1, 2)) > 0).all()
    assert (state.value[9:] == 0).all()


# A full cache


def test_more_steps_than_the_capacity_are_refused():
    cell = make(capacity=7)
    unroll = functools.partial(seqmem.unroll, cell, None)
    came = assert_refused("8 tokens for a cache of 7 tokens that has 0", unroll, jnp.ones((8, 3)))
    assert "larger capacity" in came
    assert_refused("8 tokens", jax.jit(unroll), jnp.ones((8, 3)))
    unroll(jnp.ones((7, 3)))


@pytest.mark.slow
def test_more_steps_than_there_is_room_for_are_refused_where_the_number_of_tokens_is_known():
    stack = seqmem.layers.Stack([seqmem.RNN(3, 3, key=KEY), make(capacity=7)])
    lengths = np.array([3, 5])
    state, _ = seqmem.unroll(stack, None, jnp.ones((5, 2, 3)), lengths=lengths)
    unroll = functools.partial(seqmem.unroll, stack, state)
    assert_refused("3 tokens for a cache of 7 tokens that has 5", unroll, jnp.ones((3, 2, 3)))
    unroll(jnp.ones((3, 2, 3)), lengths=[3, 2])
    mask = np.ones((3, 2), bool)
    assert_refused("3 tokens", unroll, jnp.ones((3, 2, 3)), mask=mask)
    mask[1] = False
    unroll(jnp.ones((3, 2, 3)), mask=mask)
    one = jax.tree.map(lambda leaf: leaf[1], state)
    for _ in range(2):
        one, _ = stack(one, jnp.ones(3))
    assert_refused("1 tokens for a cache of 7 tokens that has 7", stack, one, jnp.ones(3))


def test_resets_within_the_capacity_are_not_refused():
    cell, resets = make(capacity=7), np.arange(9) == 4
    xs = normal(9, 3)
    _, ys = seqmem.unroll(cell, None, xs, resets=resets)
    assert np.isfinite(ys).all()
    unroll = functools.partial(seqmem.unroll, cell, None)
    assert_refused("8 tokens", unroll, jnp.ones((9, 3)), resets=np.arange(9) == 8)
    lengths = np.array(6)
    assert_refused("8 tokens", unroll, jnp.ones((12, 3)), resets=np.arange(12) == 4)
    unroll(jnp.ones((12, 3)), resets=np.arange(12) == 4, lengths=lengths)


@pytest.mark.parametrize("method", [seqmem.Parallel(), slow(seqmem.Scan())], ids=repr)
def test_steps_without_room_are_nan_where_the_number_of_tokens_is_traced(method):
    cell = make(capacity=7)
    xs, resets = normal(7, 3), np.arange(7) == 5
    state, _ = seqmem.unroll(cell, None, normal(3, 3))

    @jax.jit
    def run(state, xs, resets):
        return seqmem.unroll(cell, state, xs, resets=resets, method=method)

    after, ys = run(state, xs, None)
    assert np.isnan(ys).all(-1).tolist() == [False] * 4 + [True] * 3
    np.testing.assert_allclose(ys[:4], seqmem.unroll(cell, state, xs[:4])[1], atol=1e-6)
    assert int(after.num_tokens) == 10
    assert np.isfinite(after.key).all()
    _, ys = run(state, xs, resets)
    assert np.isnan(ys).all(-1).tolist() == [False] * 4 + [True] + [False] * 2


@pytest.mark.slow
def test_nan_reaches_the_later_outputs_of_its_sequence_and_no_others():
    cell, at = make(capacity=CAPACITY), 7
    xs = normal(TIME, 3).at[at].set(jnp.nan)
    for resets in (None, np.arange(TIME) == 12):
        _, ys = seqmem.unroll(cell, None, xs, resets=resets)
        end = TIME if resets is None else 12
        assert np.isnan(ys).any(-1).nonzero()[0].tolist() == list(range(at, end))


@pytest.mark.slow
@pytest.mark.optimised
def test_memory_of_a_long_prefill_is_not_that_of_all_pairs():
    cell = make(capacity=4096)

    def loss(cell, xs):
        return jnp.sum(seqmem.unroll(cell, None, xs)[1] ** 2)

    xs = jax.ShapeDtypeStruct((4096, 3), jnp.float32)
    all_pairs = 4 * cell.num_heads * 4096**2
    assert seqmem.gradients.memory_report(loss, cell, xs).temporaries < all_pairs / 2


REFUSED = {
    "capacity=0": {"capacity": 0},
    "num_heads=2.0": {"num_heads": 2.0},
    "head_size=0": {"head_size": 0},
    "4 heads for a size of 3": {"head_size": None},
    "num_key_value_heads=3 for num_heads=4": {"num_key_value_heads": 3},
    "scale=0.0": {"scale": 0.0},
    "eps=0.0": {"eps": 0.0},
}


@pytest.mark.parametrize("came", REFUSED)
def test_attention_refuses_arguments_that_do_not_fit(came):
    options = {"capacity": 7} | REFUSED[came]
    assert f"CausalAttention got {came}" in assert_refused("", make, **options)


def test_positions_refuse_sizes_and_factors_that_do_not_fit():
    rotate = functools.partial(make, capacity=7)
    message = "RoPE for heads of 6 features that rotates 8 of them."
    assert_refused(message, rotate, positions=seqmem.RoPE(size=8))
    assert_refused("RoPE for heads of 6", rotate, positions=seqmem.RoPE(size=3))
    assert_refused("RoPE got size=0", seqmem.RoPE, size=0)
    assert_refused("RoPE got base=0", seqmem.RoPE, base=0)
    assert_refused("LinearScaling got factor=0", seqmem.LinearScaling, 0)
    assert_refused("YaRNScaling got slow=-1", seqmem.YaRNScaling, 2.0, 64, slow=-1)
    assert_refused("Llama3Scaling got high - low=-1", seqmem.Llama3Scaling, low=2.0, high=1.0)
