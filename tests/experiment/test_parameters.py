"""Files of parameters: complete, verified, and restored bit for bit."""

import json

import jax
import jax.numpy as jnp
import pytest

import seqmem
from seqmem import experiment
from tests.experiment.runs import THREE_PARTS
from tests.experiment.trees import assert_same_bits, make_lstm, make_tree, max_file_size
from tests.helpers.training_losses import draw_parameters


def test_parameters_are_restored_bit_for_bit(tmp_path):
    tree = make_tree(2)
    experiment.save_parameters(tmp_path / "file", tree)
    assert_same_bits(experiment.load_parameters(tmp_path / "file", make_tree(5)), tree)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_first_line_of_a_file_lists_its_arrays(tmp_path):
    experiment.save_parameters(tmp_path / "file", make_lstm())
    manifest = json.loads((tmp_path / "file").read_bytes().split(b"\n", 1)[0])
    assert {tuple(entry[0]) for entry in manifest.values()} == {(4, 5, 3), (4, 5, 5), (4, 5)}


def test_parameters_of_another_model_are_refused(tmp_path):
    experiment.save_parameters(tmp_path / "file", make_lstm())
    gru = draw_parameters(lambda: seqmem.GRU(3, 5, key=jax.random.key(0)))
    for other in (make_lstm(7), gru):
        with pytest.raises(ValueError, match="another model" + THREE_PARTS):
            experiment.load_parameters(tmp_path / "file", other)


def test_damaged_parameters_are_refused(tmp_path):
    cell = make_lstm()
    experiment.save_parameters(tmp_path / "file", cell)
    content = (tmp_path / "file").read_bytes()
    damaged = [content[:-3], content[: len(content) // 2], b"", b"no JSON\n" + content]
    for place in (len(content) - 2, len(content) // 2):
        changed = bytearray(content)
        changed[place] ^= 1
        damaged.append(bytes(changed))
    for content in damaged:
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(ValueError, match="damaged" + THREE_PARTS):
            experiment.load_parameters(tmp_path / "file", cell)


def test_full_disk_leaves_the_old_parameters(tmp_path):
    old, new = ({"x": jnp.full((101, 1009), value)} for value in (1.0, 2.0))
    experiment.save_parameters(tmp_path / "file", old)
    with max_file_size(50_000), pytest.raises(OSError, match="large" + THREE_PARTS):
        experiment.save_parameters(tmp_path / "file", new)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert_same_bits(experiment.load_parameters(tmp_path / "file", new), old)
