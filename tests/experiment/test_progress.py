"""What a run reads, in which order, and what it shows while it runs."""

import jax
import jax.numpy as jnp
import pytest

from seqmem import experiment
from tests.experiment.test_loop import KEY, THREE_PARTS, batches, rows, train


def test_every_example_is_read_once_in_an_epoch_and_in_a_new_order_each():
    read = [experiment.example_at(KEY, position, 11) for position in range(33)]
    epochs = [tuple(read[i : i + 11]) for i in (0, 11, 22)]
    assert all(sorted(epoch) == list(range(11)) for epoch in epochs)
    assert len(set(epochs)) == 3
    other = [experiment.example_at(jax.random.key(4), position, 11) for position in range(33)]
    assert other != read
    assert [experiment.example_at(KEY, position, 11) for position in (32, 0, 17)] == [
        read[position] for position in (32, 0, 17)
    ]
    for position, count in ((-1, 11), (0, 0)):
        with pytest.raises(ValueError, match=THREE_PARTS):
            experiment.example_at(KEY, position, count)


def test_tokens_are_counted_by_the_loop_or_by_the_step(tmp_path):
    def step(run, batch):
        return run, {"loss": jnp.ones(()), "weight": jnp.asarray(0.0)}

    for tokens, least in ((7, 1e-3), ("weight", 0.0)):
        folder = tmp_path / str(tokens)
        options = {"folder": folder, "tokens": tokens, "bar": False}
        experiment.train(step, {}, batches, key=KEY, steps=2, **options)
        speeds = [row["tokens_per_second"] for row in rows(folder)]
        assert all(speed > least if least else speed == 0 for speed in speeds)


def test_the_bar_shows_metrics_and_tokens_per_second(capsys):
    pytest.importorskip("tqdm")
    train(3, bar=True, tokens=7)
    said = capsys.readouterr().err
    assert "3/3" in said
    assert "loss=" in said
    assert "tokens_per_second=" in said
