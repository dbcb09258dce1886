"""The order of the data."""

import jax
import pytest

from seqmem import experiment
from tests.experiment.runs import KEY, THREE_PARTS


def test_every_example_is_read_once_per_epoch_in_a_new_order():
    order = [experiment.example_at(KEY, position, 11) for position in range(33)]
    epochs = [tuple(order[i : i + 11]) for i in (0, 11, 22)]
    assert all(sorted(epoch) == list(range(11)) for epoch in epochs)
    assert len(set(epochs)) == 3
    other = [experiment.example_at(jax.random.key(4), position, 11) for position in range(33)]
    assert other != order


def test_order_does_not_depend_on_what_was_read():
    order = [experiment.example_at(KEY, position, 11) for position in range(33)]
    for position in (32, 0, 17):
        assert experiment.example_at(KEY, position, 11) == order[position]


@pytest.mark.parametrize(("position", "num_examples"), [(-1, 11), (0, 0)])
def test_position_or_number_out_of_range_is_refused(position, num_examples):
    with pytest.raises(ValueError, match=THREE_PARTS):
        experiment.example_at(KEY, position, num_examples)
