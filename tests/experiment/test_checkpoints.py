"""Checkpoints: complete, verified, and restored bit for bit."""

import json
import re
import sys
import zlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmem import experiment
from tests.experiment.runs import NO_ORBAX, THREE_PARTS
from tests.experiment.trees import assert_same_bits, make_tree, max_file_size, raw_leaves
from tests.helpers.refusals import assert_refused
from tests.helpers.training_losses import draw, draw_parameters


@pytest.fixture
def checkpoints(tmp_path):
    pytest.importorskip("orbax.checkpoint", reason=NO_ORBAX)
    return experiment.Checkpoints(tmp_path / "checkpoints", keep_last=2, keep_best=1)


def damage(folder, name, place):
    """Change one byte of the largest file in the folder of this name."""
    files = (path for path in folder.rglob("*") if path.is_file() and name in path.parts)
    files = (path for path in files if path.name != "commit_success.txt")  # holds a path
    path = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)


def test_checkpoint_is_restored_bit_for_bit(checkpoints):
    tree = make_tree(2)
    checkpoints.save(13, tree, {"epoch": 3, "word": "ö"})
    restored, metadata = checkpoints.restore(make_tree(5))
    assert_same_bits(restored, tree)
    assert metadata == {"epoch": 3, "word": "ö"}
    jax.random.split(restored["keys"][0])  # a valid key


@pytest.mark.usefixtures("float64")
def test_float64_and_nonfinite_numbers_are_restored_bit_for_bit(checkpoints):
    numbers = np.array([1 / 3, np.nan, -np.inf, -0.0, 5e-324])
    tree = {"x": jnp.asarray(numbers), "z": jnp.asarray(np.array([1j / 3]))}
    checkpoints.save(1, tree)
    restored, _ = checkpoints.restore(jax.tree.map(jnp.zeros_like, tree))
    assert_same_bits(restored, tree)


def test_checkpoint_outlives_its_program_and_donated_arrays(checkpoints):
    tree = make_tree(2)
    expected = raw_leaves(tree)
    checkpoints.save(1, tree)
    jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf + 1, tree), donate_argnums=0)(tree["cell"])
    reopened = experiment.Checkpoints(checkpoints.folder)
    assert reopened.positions() == [1]
    for a, b in zip(raw_leaves(reopened.restore(make_tree(5))[0]), expected, strict=True):
        assert a.tobytes() == b.tobytes()


def test_arrays_are_restored_on_the_devices_of_the_given_tree(checkpoints):
    mesh = jax.make_mesh((1,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    values = np.arange(7, dtype=np.float32)
    checkpoints.save(1, {"x": jnp.asarray(values)})
    like = {"x": jax.device_put(np.zeros(7, np.float32), sharding)}
    restored, _ = checkpoints.restore(like)
    assert restored["x"].sharding == sharding
    np.testing.assert_array_equal(restored["x"], values)
    assert not checkpoints.restore({"x": jnp.zeros(7)})[0]["x"].committed


def test_functions_of_the_given_tree_are_kept(checkpoints):
    mlp = draw_parameters(lambda: eqx.nn.MLP(3, 2, 5, 1, key=jax.random.key(0)))
    checkpoints.save(1, mlp)
    restored, _ = checkpoints.restore(jax.tree.map(_negative, mlp))
    assert eqx.tree_equal(restored, mlp)


def _negative(leaf):
    return -leaf if isinstance(leaf, jax.Array) else leaf


@pytest.mark.parametrize("number", [0.5, 3, True, np.float32(1), np.ones(2)])
def test_number_that_is_no_jax_array_is_refused(checkpoints, number):
    with pytest.raises(ValueError, match=r"\['rate'\]" + THREE_PARTS):
        checkpoints.save(1, {"w": jnp.ones(2), "rate": number})
    assert checkpoints.positions() == []


def test_last_and_best_checkpoints_are_kept(checkpoints):
    positions = []
    values = [0.5, None, 0.3, jnp.nan, 0.4, 0.3, 0.6, 0.7, -jnp.inf]
    for position, value in enumerate(values):
        checkpoints.save(position, {"x": jnp.ones(3)}, value=value)
        positions.append(checkpoints.positions())
    assert positions[:5] == [[0], [0, 1], [1, 2], [2, 3], [2, 3, 4]]
    assert positions[5:] == [[4, 5], [5, 6], [5, 6, 7], [5, 7, 8]]
    assert checkpoints.best_position() == 5
    reopened = experiment.Checkpoints(checkpoints.folder, keep_last=1, keep_best=2)
    reopened.save(9, {"x": jnp.ones(3)})
    assert reopened.positions() == [5, 7, 9]


def test_every_kept_checkpoint_can_be_restored(checkpoints):
    for position in (3, 5):
        checkpoints.save(position, {"x": jnp.full(2, float(position))})
    for position in (3, 5):
        restored, _ = checkpoints.restore({"x": jnp.zeros(2)}, position)
        np.testing.assert_array_equal(restored["x"], position)
    with pytest.raises(ValueError, match=r"position=4(.|\n)*Expected: one of \[3, 5\]"):
        checkpoints.restore({"x": jnp.zeros(2)}, 4)


def test_restore_from_an_empty_folder_is_refused(checkpoints):
    with pytest.raises(ValueError, match="0 checkpoints" + THREE_PARTS):
        checkpoints.restore({"x": jnp.zeros(2)})


def test_position_that_is_taken_or_negative_is_refused(checkpoints):
    checkpoints.save(3, {"x": jnp.ones(2)})
    for position in (3, -1):
        with pytest.raises(ValueError, match=rf"position={position}" + THREE_PARTS):
            checkpoints.save(position, {"x": jnp.ones(2)})


def test_checkpoint_of_another_model_is_refused_with_the_differences(checkpoints):
    tree = make_tree(2)
    checkpoints.save(1, tree)
    for like, difference in [
        (make_tree(2, hidden=7), r"\['cell'\]\.\w+ is float32\[.*\] in it, not float32\["),
        (tree | {"counter": jnp.array(2.0)}, r"\['counter'\] is int32\[\] in it, not float32\[\]"),
        (tree | {"keys": tree["keys"][:5]}, r"\['keys'\] is key<fry>"),
        (tree | {"more": jnp.ones(3)}, r"\['more'\] is not in it"),
        ({k: v for k, v in tree.items() if k != "half"}, r"it holds \['half'\], bfloat16"),
    ]:
        with pytest.raises(ValueError, match=difference + THREE_PARTS):
            checkpoints.restore(like)


@pytest.mark.parametrize("part", ["arrays", "header"])
def test_changed_byte_never_changes_a_number(checkpoints, part):
    tree = {"x": jnp.asarray(draw(0, 37, 101), jnp.float32)}
    num_refused = 0
    for position, place in enumerate([0.0, 0.1, 0.3, 0.5, 0.7, 0.99]):
        checkpoints.save(position, tree)
        damage(checkpoints.folder / f"{position:010d}", part, place)
        try:
            restored, _ = experiment.Checkpoints(checkpoints.folder).restore(tree)
        except ValueError as error:
            message = str(error)
        else:
            assert_same_bits(restored, tree)  # nothing reads this byte
            continue
        assert re.search("damaged" + THREE_PARTS, message)
        num_refused += 1
    assert num_refused >= 4


def test_checkpoint_with_a_missing_file_is_refused(checkpoints):
    checkpoints.save(1, {"x": jnp.ones(3)})
    for path in list(checkpoints.folder.rglob("*")):
        if path.is_file() and "arrays" in path.parts:
            path.unlink()
    with pytest.raises(ValueError, match="damaged" + THREE_PARTS):
        checkpoints.restore({"x": jnp.ones(3)})


def test_full_disk_leaves_the_checkpoint_before(checkpoints):
    tree = {"x": jnp.asarray(draw(0, 101, 1009), jnp.float32)}
    checkpoints.save(100, tree, {"epoch": 1})
    message = "position 200" + THREE_PARTS + r"(.|\n)*the checkpoint at 100 is complete"
    with max_file_size(50_000), pytest.raises(OSError, match=message):
        checkpoints.save(200, jax.tree.map(jnp.negative, tree), {"epoch": 2})
    assert [path.name for path in checkpoints.folder.glob("[!.]*")] == ["0000000100"]
    restored, metadata = experiment.Checkpoints(checkpoints.folder).restore(tree)
    assert_same_bits(restored, tree)
    assert metadata == {"epoch": 1}
    checkpoints.save(200, tree, {"epoch": 2})  # the disk has space again
    assert checkpoints.restore(tree)[1] == {"epoch": 2}


def test_remains_of_a_killed_program_are_deleted(checkpoints):
    checkpoints.save(1, {"x": jnp.ones(3)})
    (checkpoints.folder / "0000000001").rename(checkpoints.folder / "0000000001.deleted")
    (checkpoints.folder / "0000000002.orbax-checkpoint-tmp").mkdir()
    (checkpoints.folder / "notes").mkdir()
    assert checkpoints.positions() == []
    experiment.Checkpoints(checkpoints.folder)
    assert [path.name for path in checkpoints.folder.glob("[!.]*")] == ["notes"]


@pytest.mark.parametrize(
    "header",
    [
        "{}",
        '{"arrays": 3, "metadata": {}, "value": null}',
        '{"arrays": {}, "metadata": [], "value": null}',
        '{"arrays": {}, "metadata": {}, "value": "small"}',
        '{"arrays": {}, "metadata": {}, "value": NaN}',
        '{"arrays": {"x": 3}, "metadata": {}, "value": null}',
        '{"x":' * 200 + "1" + "}" * 200,
    ],
)
def test_header_that_seqmem_does_not_write_is_refused(checkpoints, header):
    """Its checksum may be right."""
    checkpoints.save(1, {"x": jnp.ones(3)}, value=1.0)
    path = checkpoints.folder / "0000000001"
    (file,) = (file for file in (path / "header").iterdir() if b'"text"' in file.read_bytes())
    file.write_text(json.dumps({"text": header, "checksum": zlib.crc32(header.encode())}))
    came = f"the checkpoint {path} is damaged"
    assert_refused(came, experiment.Checkpoints(checkpoints.folder).restore, {"x": jnp.zeros(3)})


def test_names_that_are_no_positions_are_no_checkpoints(checkpoints):
    for name in ("5", "²", "٣", "0000000005.x", "00000000005"):
        (checkpoints.folder / name).mkdir()
    assert experiment.Checkpoints(checkpoints.folder).positions() == []


@pytest.mark.parametrize("count", [{"every": 0}, {"keep_last": 0}, {"keep_best": -1}])
def test_counts_out_of_range_are_refused(tmp_path, count):
    with pytest.raises(ValueError, match=THREE_PARTS):
        experiment.Checkpoints(tmp_path, **count)


def test_missing_orbax_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "orbax", None)
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(ImportError, match=r"seqmem\[train\]"):
        experiment.Checkpoints(tmp_path)
