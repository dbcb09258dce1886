"""Files of parameters: complete, verified, and restored bit for bit."""

import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import experiment
from tests.experiment.runs import THREE_PARTS
from tests.experiment.trees import assert_same_bits, make_lstm, make_tree, max_file_size
from tests.helpers.memory import memory_below
from tests.helpers.refusals import assert_refused
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


def spoiled(content, **changes):
    """A file with another manifest, in which the arrays are as they were."""
    manifest, arrays = content.split(b"\n", 1)
    text = changes["text"] if "text" in changes else json.dumps(json.loads(manifest) | changes)
    return text.encode() + b"\n" + arrays


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda content: content + b"x", "more bytes follow"),
        (lambda content: spoiled(content, text="[" * 10**5), "no JSON object"),
        (lambda content: spoiled(content, text='{"x":' * 200 + "1" + "}" * 200), "no JSON object"),
        (lambda content: spoiled(content, text='["x"]'), "no JSON object"),
        (lambda content: spoiled(content, **{"['x']": 3}), "lacks the shape"),
        (lambda content: spoiled(content, **{"['x']": [[2, 3], "float32"]}), "lacks the shape"),
        (lambda content: spoiled(content, **{"['x']": [2, "float32", 3]}), "lacks the shape"),
        (lambda content: content.replace(b"(2, 3)", b"(3, 2)"), "an array float32[3, 2] for"),
        (lambda content: content.replace(b"'descr'", b"\x7fdescr'"), "no header of an array"),
        (lambda content: content.replace(b"<f4", b"|O8"), "an array object[2, 3] for"),
        (lambda content: content.replace(b"<f4", b"<i4"), "an array int32[2, 3] for"),
        (lambda content: content.replace(b"\x93NUMPY\1", b"\x93NUMPY\2"), "version (2, 0)"),
    ],
)
def test_damage_of_a_file_of_parameters_is_named(spoil, reason, tmp_path):
    tree, path = {"x": jnp.arange(6.0).reshape(2, 3)}, tmp_path / "file"
    experiment.save_parameters(path, tree)
    path.write_bytes(spoil(path.read_bytes()))
    assert reason in assert_refused(f"the file {path} is damaged", load, path, tree)


def load(path, tree):
    """Read parameters, in memory in proportion to the file."""
    with memory_below(2**22):
        return experiment.load_parameters(path, tree)


def test_array_in_the_order_of_fortran_is_read(tmp_path):
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    experiment.save_parameters(tmp_path / "file", {"x": jnp.asarray(values)})
    content = io.BytesIO()
    np.save(content, np.asfortranarray(values))
    manifest = (tmp_path / "file").read_bytes().split(b"\n", 1)[0]
    (tmp_path / "file").write_bytes(manifest + b"\n" + content.getvalue())
    restored = experiment.load_parameters(tmp_path / "file", {"x": jnp.zeros((2, 3))})
    np.testing.assert_array_equal(restored["x"], values)
