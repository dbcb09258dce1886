"""Checkpoints and files of parameters: whole, checked, and to the bit."""

import contextlib
import json
import re
import resource
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import seqmem
from seqmem import experiment

WHY = "no orbax-checkpoint here to write checkpoints with"
THREE_PARTS = r"(.|\n)*Expected(.|\n)*What to do"


@pytest.fixture
def checkpoints(tmp_path):
    pytest.importorskip("orbax.checkpoint", reason=WHY)
    return experiment.Checkpoints(tmp_path / "checkpoints", last=2, best=1)


def run_of(seed, hidden=5):
    """All that a step may change: parameters, optimiser, state, keys, counters, half precision."""
    key = jax.random.key(seed)
    cell = seqmem.LSTM(3, hidden, key=key)
    return {
        "cell": cell,
        "optimiser": optax.adam(1e-3).init(cell),
        "state": jax.tree.map(lambda leaf: leaf + seed, cell.init_state()),
        "keys": jax.random.split(key, 7),
        "other key": jax.random.key(seed, impl="rbg"),
        "made": jnp.array(seed, jnp.int32),
        "half": jax.random.normal(key, (2, 11)).astype(jnp.bfloat16),
        "none": jnp.zeros((0, 3)),
        "is it": jnp.array([True, False]),
    }


def plain(tree):
    return [
        np.asarray(jax.random.key_data(leaf) if "key<" in str(leaf.dtype) else leaf)
        for leaf in jax.tree.leaves(tree)
    ]


def assert_same_bits(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert (a.dtype, a.shape, a.sharding) == (b.dtype, b.shape, b.sharding)
    for a, b in zip(plain(one), plain(other), strict=True):
        assert a.tobytes() == b.tobytes()


def damage(folder, name, where):
    """Change one byte of the largest file under the folder of this name."""
    files = (path for path in folder.rglob("*") if path.is_file() and name in path.parts)
    files = (path for path in files if path.name != "commit_success.txt")  # says where it is
    path = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 1
    path.write_bytes(content)


def test_a_checkpoint_comes_back_to_the_bit(checkpoints):
    run = run_of(2)
    checkpoints.save(13, run, {"epoch": 3, "word": "ö"})
    found, note = checkpoints.restore(run_of(5))
    assert_same_bits(found, run)
    assert note == {"epoch": 3, "word": "ö"}
    jax.random.normal(found["keys"][0])  # a key one can draw from


@pytest.mark.usefixtures("float64")
def test_float64_and_what_is_not_finite_come_back_to_the_bit(checkpoints):
    run = {"x": jnp.array([1 / 3, jnp.nan, -jnp.inf, -0.0, 5e-324]), "z": jnp.array([1j / 3])}
    checkpoints.save(1, run)
    found, _ = checkpoints.restore(jax.tree.map(jnp.zeros_like, run))
    assert_same_bits(found, run)


def test_a_checkpoint_outlives_its_program_and_what_is_donated(checkpoints):
    run = run_of(2)
    expected = plain(run)
    checkpoints.save(1, run)
    jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf + 1, tree), donate_argnums=0)(run["cell"])
    again = experiment.Checkpoints(checkpoints.folder)
    assert again.positions() == [1]
    for a, b in zip(plain(again.restore(run_of(5))[0]), expected, strict=True):
        assert a.tobytes() == b.tobytes()


def test_arrays_go_where_those_of_the_given_tree_are(checkpoints):
    mesh = jax.make_mesh((1,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    checkpoints.save(1, {"x": jnp.arange(7.0)})
    like = {"x": jax.device_put(jnp.zeros(7), sharding)}
    found, _ = checkpoints.restore(like)
    assert found["x"].sharding == sharding
    np.testing.assert_array_equal(found["x"], np.arange(7.0))
    assert not checkpoints.restore({"x": jnp.zeros(7)})[0]["x"].committed


def test_functions_in_a_tree_are_not_saved_and_are_kept(checkpoints):
    mlp = eqx.nn.MLP(3, 2, 5, 1, key=jax.random.key(0))
    checkpoints.save(1, mlp)
    found, _ = checkpoints.restore(eqx.nn.MLP(3, 2, 5, 1, key=jax.random.key(1)))
    assert eqx.tree_equal(found, mlp)


@pytest.mark.parametrize("number", [0.5, 3, True, np.float32(1), np.ones(2)])
def test_a_number_that_is_no_jax_array_is_refused(checkpoints, number):
    with pytest.raises(ValueError, match=r"\['rate'\]" + THREE_PARTS):
        checkpoints.save(1, {"w": jnp.ones(2), "rate": number})
    assert checkpoints.positions() == []


def test_the_last_and_the_best_are_kept(checkpoints):
    kept = []
    values = [0.5, None, 0.3, jnp.nan, 0.4, 0.3, 0.6, 0.7, -jnp.inf]
    for position, value in enumerate(values):
        checkpoints.save(position, {"x": jnp.ones(3)}, value=value)
        kept.append(checkpoints.positions())
    assert kept[:5] == [[0], [0, 1], [1, 2], [2, 3], [2, 3, 4]]
    assert kept[5:] == [[4, 5], [5, 6], [5, 6, 7], [5, 7, 8]]
    assert checkpoints.best_position() == 5
    again = experiment.Checkpoints(checkpoints.folder, last=1, best=2)
    again.save(9, {"x": jnp.ones(3)})
    assert again.positions() == [5, 7, 9]


def test_any_of_the_kept_can_be_restored(checkpoints):
    for position in (3, 5):
        checkpoints.save(position, {"x": jnp.full(2, float(position))})
    for position in (3, 5):
        found, _ = checkpoints.restore({"x": jnp.zeros(2)}, position)
        np.testing.assert_array_equal(found["x"], position)
    with pytest.raises(ValueError, match=r"position=4(.|\n)*Expected: one of \[3, 5\]"):
        checkpoints.restore({"x": jnp.zeros(2)}, 4)


def test_nothing_to_restore_is_said(checkpoints):
    with pytest.raises(ValueError, match="0 checkpoints" + THREE_PARTS):
        checkpoints.restore({"x": jnp.zeros(2)})


def test_a_position_is_written_once(checkpoints):
    checkpoints.save(3, {"x": jnp.ones(2)})
    for position in (3, -1):
        with pytest.raises(ValueError, match=rf"position={position}" + THREE_PARTS):
            checkpoints.save(position, {"x": jnp.ones(2)})


def test_a_checkpoint_of_another_model_is_refused_and_the_difference_named(checkpoints):
    checkpoints.save(1, run_of(2))
    for like, named in [
        (run_of(2, hidden=7), r"\['cell'\]\.\w+ is float32\[.*\] in it, not float32\["),
        (run_of(2) | {"made": jnp.array(2.0)}, r"\['made'\] is int32\[\] in it, not float32\[\]"),
        (run_of(2) | {"keys": jax.random.split(jax.random.key(0), 5)}, r"\['keys'\] is key<fry>"),
        (run_of(2) | {"more": jnp.ones(3)}, r"\['more'\] is not in it"),
        ({k: v for k, v in run_of(2).items() if k != "half"}, r"it holds \['half'\], bfloat16"),
    ]:
        with pytest.raises(ValueError, match=named + THREE_PARTS):
            checkpoints.restore(like)


@pytest.mark.parametrize("what", ["arrays", "held"])
def test_a_changed_byte_gives_no_other_numbers(checkpoints, what):
    run = {"x": jax.random.normal(jax.random.key(0), (37, 101))}
    refused = 0
    for position, where in enumerate([0.0, 0.1, 0.3, 0.5, 0.7, 0.99]):
        checkpoints.save(position, run)
        damage(checkpoints.folder / f"{position:010d}", what, where)
        try:
            found, _ = experiment.Checkpoints(checkpoints.folder).restore(run)
        except ValueError as error:
            said = str(error)
        else:
            assert_same_bits(found, run)  # a byte that nothing reads
            continue
        assert re.search("damaged" + THREE_PARTS, said)
        refused += 1
    assert refused >= 4


def test_a_missing_file_is_said(checkpoints):
    checkpoints.save(1, {"x": jnp.ones(3)})
    for path in list(checkpoints.folder.rglob("*")):
        if path.is_file() and "arrays" in path.parts:
            path.unlink()
    with pytest.raises(ValueError, match="damaged" + THREE_PARTS):
        checkpoints.restore({"x": jnp.ones(3)})


@contextlib.contextmanager
def largest_file(size):
    """The system refuses to write more, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_said_and_the_checkpoint_before_is_whole(checkpoints):
    run = {"x": jax.random.normal(jax.random.key(0), (101, 1009))}
    checkpoints.save(100, run, {"epoch": 1})
    with (
        largest_file(50_000),
        pytest.raises(OSError, match="position 200" + THREE_PARTS + "(.|\n)*100 is whole"),
    ):
        checkpoints.save(200, jax.tree.map(jnp.negative, run), {"epoch": 2})
    assert [path.name for path in checkpoints.folder.iterdir()] == ["0000000100"]
    found, note = experiment.Checkpoints(checkpoints.folder).restore(run)
    assert_same_bits(found, run)
    assert note == {"epoch": 1}
    checkpoints.save(200, run, {"epoch": 2})  # there is room again
    assert checkpoints.restore(run)[1] == {"epoch": 2}


def test_what_a_killed_program_left_is_no_checkpoint_and_goes(checkpoints):
    checkpoints.save(1, {"x": jnp.ones(3)})
    (checkpoints.folder / "0000000001").rename(checkpoints.folder / "0000000001.deleted")
    (checkpoints.folder / "0000000002.orbax-checkpoint-tmp").mkdir()
    (checkpoints.folder / "notes").mkdir()
    assert checkpoints.positions() == []
    experiment.Checkpoints(checkpoints.folder)
    assert [path.name for path in checkpoints.folder.iterdir()] == ["notes"]


def test_keeping_none_is_refused(tmp_path):
    for counts in ({"last": 0}, {"best": -1}):
        with pytest.raises(ValueError, match=THREE_PARTS):
            experiment.Checkpoints(tmp_path, **counts)


def test_without_orbax_it_is_said_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "orbax", None)
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(ImportError, match=r"seqmem\[train\]"):
        experiment.Checkpoints(tmp_path)


def test_parameters_come_back_to_the_bit(tmp_path):
    run = run_of(2)
    experiment.save_parameters(tmp_path / "file", run)
    assert_same_bits(experiment.load_parameters(tmp_path / "file", run_of(5)), run)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_of_parameters_says_what_it_holds(tmp_path):
    experiment.save_parameters(tmp_path / "file", seqmem.LSTM(3, 5, key=jax.random.key(0)))
    held = json.loads((tmp_path / "file").read_bytes().split(b"\n", 1)[0])
    assert {tuple(kind[0]) for kind in held.values()} == {(4, 5, 3), (4, 5, 5), (4, 5)}


def test_parameters_of_another_model_are_refused(tmp_path):
    experiment.save_parameters(tmp_path / "file", seqmem.LSTM(3, 5, key=jax.random.key(0)))
    for other in (
        seqmem.LSTM(3, 7, key=jax.random.key(0)),
        seqmem.GRU(3, 5, key=jax.random.key(0)),
    ):
        with pytest.raises(ValueError, match="something else" + THREE_PARTS):
            experiment.load_parameters(tmp_path / "file", other)


def test_damaged_parameters_are_refused(tmp_path):
    cell = seqmem.LSTM(3, 5, key=jax.random.key(0))
    experiment.save_parameters(tmp_path / "file", cell)
    whole = (tmp_path / "file").read_bytes()
    damaged = [whole[:-3], whole[: len(whole) // 2], b"", b"no JSON\n" + whole]
    for place in (len(whole) - 2, len(whole) // 2):
        changed = bytearray(whole)
        changed[place] ^= 1
        damaged.append(bytes(changed))
    for content in damaged:
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(ValueError, match="damaged" + THREE_PARTS):
            experiment.load_parameters(tmp_path / "file", cell)


def test_a_full_disk_leaves_the_parameters_before(tmp_path):
    old, new = ({"x": jnp.full((101, 1009), value)} for value in (1.0, 2.0))
    experiment.save_parameters(tmp_path / "file", old)
    with largest_file(50_000), pytest.raises(OSError, match="large"):
        experiment.save_parameters(tmp_path / "file", new)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert_same_bits(experiment.load_parameters(tmp_path / "file", new), old)
