"""Batches by length: every example once, few shapes, and nothing that a program could choke on."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import seqmem
from seqmem import data, experiment, training

LENGTHS = np.random.default_rng(0).integers(0, 60, 101).tolist()


@pytest.mark.parametrize("count", [1, 2, 5, 97])
def test_an_epoch_holds_every_example_once_in_a_bucket_that_is_long_enough(count):
    buckets = data.Buckets.of(LENGTHS, batch=7, count=count)
    assert len(buckets.times) <= count
    orders = []
    for epoch in range(2):
        read = []
        for position in range(len(buckets)):
            examples, time = buckets(jax.random.key(3), epoch * len(buckets) + position)
            assert len(examples) == 7
            assert time in buckets.times
            some = examples[examples != data.NONE].tolist()
            assert all(LENGTHS[i] <= time for i in some)
            read += some
        assert sorted(read) == list(range(101))
        orders.append(read)
    assert orders[0] != orders[1]


def test_a_batch_depends_on_key_and_position_alone():
    def read(key, positions):
        buckets = data.Buckets.of(LENGTHS, batch=7, count=3)
        return [(time, *examples) for examples, time in (buckets(key, at) for at in positions)]

    key = jax.random.key(0)
    assert read(key, [5, 2]) == [read(key, range(7))[at] for at in (5, 2)]
    assert read(key, range(7)) != read(jax.random.key(1), range(7))


def test_buckets_pad_as_little_as_any():
    lengths = [1, 2, 2, 5, 6, 6, 6, 11, 13]

    def padding(times):
        return sum(min(t for t in times if t >= length) - length for length in lengths)

    for count in (1, 2, 3, 5):
        found = data.Buckets.of(lengths, batch=2, count=count).times
        best = min(
            padding((*some, 13)) for some in itertools.combinations([1, 2, 5, 6, 11], count - 1)
        )
        assert (len(found), padding(found)) == (count, best)


def test_no_more_buckets_than_lengths():
    buckets = data.Buckets.of([0, 0, 3, 1], batch=2, count=5)
    assert buckets.times == (1, 3)
    assert [own.tolist() for own in buckets.members] == [[0, 1, 3], [2]]


def test_padding_stands_behind_and_says_how_long_each_is():
    sequences = [np.full((length, 2), length, np.float32) for length in (3, 0, 5)]
    xs, lengths = data.padded(sequences, data.Batch(np.array([2, data.NONE, 0, 1]), 5))
    assert xs.dtype == np.float32
    assert xs.shape == (5, 4, 2)
    assert lengths.tolist() == [5, 0, 3, 0]
    assert xs[..., 0].sum(0).tolist() == [25, 0, 9, 0]
    assert xs[:3, 2].all()


@pytest.mark.parametrize(
    ("lengths", "batch", "count"),
    [([], 2, 1), ([3, -1], 2, 1), ([3], 0, 1), ([3], 2, 0), ([[3]], 2, 1)],
)
def test_impossible_buckets_are_refused(lengths, batch, count):
    with pytest.raises(ValueError, match=r"Expected(.|\n)*What to do"):
        data.Buckets.of(lengths, batch=batch, count=count)


def test_a_position_before_the_first_is_refused():
    with pytest.raises(ValueError, match="position=-1"):
        data.Buckets.of([3], batch=1, count=1)(jax.random.key(0), -1)


class Model(eqx.Module):
    """A cell, and a readout of the mean of what it shows."""

    cell: seqmem.RNN
    V: jax.Array


def model_of(key):
    keys = jax.random.split(key)
    return Model(seqmem.RNN(3, 5, key=keys[0]), jax.random.normal(keys[1], (2, 5)))


def loss_of(traces):
    def loss(model, state, batch, lengths):
        traces.append(batch[0].shape)
        xs, classes = batch
        _, ys = seqmem.unroll(model.cell, model.cell.init_state(), xs, lengths=lengths)
        mean = ys.sum(0) / jnp.maximum(lengths, 1)[:, None].astype(ys.dtype)
        losses = optax.softmax_cross_entropy_with_integer_labels(mean @ model.V.T, classes[0])
        return losses.sum(), losses.size, state

    return loss


def test_a_step_is_compiled_once_for_each_bucket_and_no_length_makes_nan():
    lengths = [0, 1, 7, 23] * 5 + [7, 7]  # 23 is the longest
    sequences = [
        np.random.default_rng(i).normal(size=(length, 3)).astype(np.float32)
        for i, length in enumerate(lengths)
    ]
    buckets = data.Buckets.of(lengths, batch=4, count=3)
    traces = []
    gradient = training.TruncatedBPTT(loss_of(traces), window=29)
    optimiser = optax.adam(0.01)
    step = training.make_step(gradient, optimiser)

    def batches(key, position):
        batch = buckets(key, position)
        xs, lengths = data.padded(sequences, batch)
        classes = np.broadcast_to(batch.examples.astype(np.int32) % 2, xs.shape[:2])
        return (xs, classes), lengths

    state, progress = experiment.train(
        lambda state, batch: step(state, *batch),
        training.begin_training(model_of(jax.random.key(0)), optimiser, ()),
        batches,
        key=jax.random.key(1),
        steps=2 * len(buckets),
        progress_bar=False,
    )
    assert progress.position == 2 * len(buckets)
    assert sorted(traces) == [(time, 4, 3) for time in buckets.times]
    assert int(state.skipped) == 0
    arrays = jax.tree.leaves(eqx.filter(state, eqx.is_array))
    assert all(jnp.isfinite(leaf).all() for leaf in arrays)
