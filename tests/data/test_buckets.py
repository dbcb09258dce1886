"""`Buckets`: every example once per epoch, few shapes, little padding."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import seqmem
from seqmem import data, experiment, training
from tests.helpers.refusals import assert_refused

LENGTHS = np.random.default_rng(0).integers(0, 60, 101).tolist()


@pytest.mark.parametrize("num_buckets", [1, 2, 5, 97])
def test_epoch_reads_every_example_once_in_a_long_enough_bucket(num_buckets):
    buckets = data.Buckets.from_lengths(LENGTHS, batch_size=7, num_buckets=num_buckets)
    assert len(buckets.padded_lengths) <= num_buckets
    orders = []
    for epoch in range(2):
        read = []
        for position in range(len(buckets)):
            indices, length = buckets(jax.random.key(3), epoch * len(buckets) + position)
            assert len(indices) == 7
            assert length in buckets.padded_lengths
            examples = indices[indices != data.NO_EXAMPLE].tolist()
            assert all(LENGTHS[i] <= length for i in examples)
            read += examples
        assert sorted(read) == list(range(101))
        orders.append(read)
    assert orders[0] != orders[1]


def test_batch_is_a_function_of_key_and_position():
    def batches(key, positions):
        buckets = data.Buckets.from_lengths(LENGTHS, batch_size=7, num_buckets=3)
        return [(length, *indices) for indices, length in (buckets(key, i) for i in positions)]

    key = jax.random.key(0)
    assert batches(key, [5, 2]) == [batches(key, range(7))[i] for i in (5, 2)]
    assert batches(key, range(7)) != batches(jax.random.key(1), range(7))


def test_buckets_need_the_least_padding():
    lengths = [1, 2, 2, 5, 6, 6, 6, 11, 13]

    def padding(padded_lengths):
        return sum(min(t for t in padded_lengths if t >= length) - length for length in lengths)

    for count in (1, 2, 3, 5):
        buckets = data.Buckets.from_lengths(lengths, batch_size=2, num_buckets=count)
        least = min(
            padding((*shorter, 13))
            for shorter in itertools.combinations([1, 2, 5, 6, 11], count - 1)
        )
        assert len(buckets.padded_lengths) == count
        assert padding(buckets.padded_lengths) == least


def test_buckets_are_no_more_than_distinct_lengths():
    buckets = data.Buckets.from_lengths([0, 0, 3, 1], batch_size=2, num_buckets=5)
    assert buckets.padded_lengths == (1, 3)
    assert [members.tolist() for members in buckets.members] == [[0, 1, 3], [2]]


def test_pad_batch_pads_at_the_end_and_returns_lengths():
    sequences = [np.full((length, 2), length, np.float32) for length in (3, 0, 5)]
    xs, lengths = data.pad_batch(sequences, data.Batch(np.array([2, data.NO_EXAMPLE, 0, 1]), 5))
    assert xs.dtype == np.float32
    assert xs.shape == (5, 4, 2)
    assert lengths.tolist() == [5, 0, 3, 0]
    assert xs[..., 0].sum(0).tolist() == [25, 0, 9, 0]
    assert xs[:3, 2].all()


@pytest.mark.parametrize(
    ("lengths", "batch_size", "num_buckets"),
    [([], 2, 1), ([3, -1], 2, 1), ([3], 0, 1), ([3], 2, 0), ([[3]], 2, 1)],
)
def test_buckets_refuse_wrong_arguments_in_three_parts(lengths, batch_size, num_buckets):
    options = {"batch_size": batch_size, "num_buckets": num_buckets}
    assert_refused("Buckets got", data.Buckets.from_lengths, lengths, **options)


def test_buckets_refuse_a_negative_position():
    with pytest.raises(ValueError, match="position=-1"):
        data.Buckets.from_lengths([3], batch_size=1, num_buckets=1)(jax.random.key(0), -1)


class Model(eqx.Module):
    """A cell with a linear readout of its mean output."""

    cell: seqmem.RNN
    V: jax.Array


def make_model(key):
    keys = jax.random.split(key)
    return Model(seqmem.RNN(3, 5, key=keys[0]), jax.random.normal(keys[1], (2, 5)))


def make_loss(traces):
    def loss(model, state, batch, lengths):
        traces.append(batch[0].shape)
        xs, classes = batch
        _, ys = seqmem.unroll(model.cell, None, xs, lengths=lengths)
        mean = ys.sum(0) / jnp.maximum(lengths, 1)[:, None].astype(ys.dtype)
        losses = optax.softmax_cross_entropy_with_integer_labels(mean @ model.V.T, classes[0])
        return losses.sum(), losses.size, state

    return loss


@pytest.mark.slow
def test_step_compiles_once_per_bucket_and_no_length_gives_nan():
    lengths = [0, 1, 7, 23] * 5 + [7, 7]  # 23 is the longest
    sequences = [
        np.random.default_rng(i).normal(size=(length, 3)).astype(np.float32)
        for i, length in enumerate(lengths)
    ]
    buckets = data.Buckets.from_lengths(lengths, batch_size=4, num_buckets=3)
    traces = []
    gradient = training.TruncatedBPTT(make_loss(traces), window=29)
    optimiser = optax.adam(0.01)
    step = training.make_step(gradient, optimiser)

    def batches(key, position):
        batch = buckets(key, position)
        xs, lengths = data.pad_batch(sequences, batch)
        classes = np.broadcast_to(batch.indices.astype(np.int32) % 2, xs.shape[:2])
        return (xs, classes), lengths

    state, progress = experiment.train(
        lambda state, batch: step(state, *batch),
        training.begin_training(make_model(jax.random.key(0)), optimiser, ()),
        batches,
        key=jax.random.key(1),
        steps=2 * len(buckets),
        progress_bar=False,
    )
    assert progress.position == 2 * len(buckets)
    assert sorted(traces) == [(time, 4, 3) for time in buckets.padded_lengths]
    assert int(state.skipped) == 0
    arrays = jax.tree.leaves(eqx.filter(state, eqx.is_array))
    assert all(jnp.isfinite(leaf).all() for leaf in arrays)
