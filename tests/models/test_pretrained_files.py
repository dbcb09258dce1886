"""Folders of published models that are cut, wrong or hostile: each is refused, nothing is run."""

import json
import os
import shutil
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmem.models import download, from_config, from_pretrained, load_tokenizer, to_pretrained
from seqmem.models._pretrained import safetensors
from seqmem.models._pretrained.load import structure, with_config
from seqmem.models._pretrained.registry import LAYOUTS

from ..helpers.refusals import assert_refused

CONFIG = {
    "model_type": "mamba",
    "vocab_size": 11,
    "hidden_size": 3,
    "num_hidden_layers": 1,
    "state_size": 2,
    "expand": 1,
    "conv_kernel": 2,
    "dtype": "float32",
}
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
NORM = "backbone.norm_f.weight"


@pytest.fixture(scope="module")
def model():
    """One whose numbers are drawn by NumPy, for which nothing is compiled."""
    generator = np.random.default_rng(0)
    layout = LAYOUTS["mamba"]
    shapes, _ = structure(layout, {**layout.defaults, **CONFIG})
    random = jax.tree.map(
        lambda leaf: jnp.asarray(generator.normal(size=leaf.shape), jnp.float32), shapes
    )
    return with_config(random, CONFIG)


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    """The model in one file, and in shards."""
    root = tmp_path_factory.mktemp("saved")
    to_pretrained(model, root / "model")
    to_pretrained(model, root / "shards", max_shard_size=200)
    return root


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved / "model", tmp_path / "model")


@pytest.fixture
def shards(saved, tmp_path):
    return shutil.copytree(saved / "shards", tmp_path / "shards")


def read(folder):
    """Header and bytes of the tensors."""
    data = (folder / WEIGHTS).read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def write(folder, header, body):
    """A file with this header, which may be text."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    (folder / WEIGHTS).write_bytes(len(text).to_bytes(8, "little") + text + body)


def change(folder, **entries):
    """Another config."""
    (folder / "config.json").write_text(json.dumps(CONFIG | entries))


@pytest.fixture(autouse=True)
def _nothing_is_read(request, monkeypatch):
    """No tensor is read from a folder that is refused."""
    if "test_refused" in request.node.name:

        def refuse(entry):
            raise AssertionError(f"{entry.path} was read")

        monkeypatch.setattr(safetensors.Entry, "read", refuse)


def cut(folder):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[:-4])


def lengthen(folder):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data + bytes(4))


def header_beyond_the_file(folder):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes((10**6).to_bytes(8, "little") + data[8:])


def header_of_more_than_100_megabytes(folder):
    with (folder / WEIGHTS).open("wb") as file:
        file.write((100_000_001).to_bytes(8, "little"))
        file.truncate(2 * 10**8)  # a hole, which takes no space


def empty_file(folder):
    (folder / WEIGHTS).write_bytes(b"")


def overlap(folder):
    header, body = read(folder)
    first, second, *_ = [name for name in header if name != "__metadata__"]
    size = np.subtract(*header[second]["data_offsets"][::-1]).item()
    start = header[first]["data_offsets"][0]
    header[second]["data_offsets"] = [start, start + size]
    write(folder, header, body)


def larger_than_its_file(folder):
    header, body = read(folder)
    header[NORM] = {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}
    write(folder, header, body)


def shape_without_its_bytes(folder):
    header, body = read(folder)
    header[NORM]["shape"] = [10**6]
    write(folder, header, body)


def negative_offset(folder):
    header, body = read(folder)
    header[NORM]["data_offsets"] = [-12, 0]
    write(folder, header, body)


def unknown_dtype(folder):
    header, body = read(folder)
    header[NORM]["dtype"] = "PICKLE"
    write(folder, header, body)


def integers(folder):
    header, body = read(folder)
    header[NORM]["dtype"] = "I32"
    write(folder, header, body)


def twice_in_the_header(folder):
    header, body = read(folder)
    text = json.dumps(header)
    write(folder, f'{text[:-1]}, "{NORM}": {json.dumps(header[NORM])}}}', body)


def header_that_is_no_json(folder):
    write(folder, "import os", b"")


def header_that_is_a_list(folder):
    write(folder, "[]", b"")


def deep_header(folder):
    write(folder, "[" * 100_000, b"")


def huge_numbers(folder):
    header, body = read(folder)
    header[NORM]["shape"] = [2**62] * 1000
    write(folder, header, body)


def missing_tensor(folder):
    header, body = read(folder)
    header["another"] = header.pop(NORM)
    write(folder, header, body)


def other_shape(folder):
    header, body = read(folder)
    header[NORM]["shape"] = [1, 3]
    write(folder, header, body)


def missing_config(folder):
    (folder / "config.json").unlink()


def config_of_a_gigabyte(folder):
    with (folder / "config.json").open("wb") as file:
        file.truncate(2**30)


def deep_config(folder):
    """As deep as the parser of JSON goes, which is deeper than other functions do."""
    (folder / "config.json").write_text('{"x":' * 400 + "1" + "}" * 400)


def config_without_a_number(folder):
    change(folder, expand={"__float__": "many"})


def config_that_is_a_list(folder):
    (folder / "config.json").write_text("[1, 2]")


def link_out_of_the_folder(folder):
    other = folder.parent / "other.safetensors"
    (folder / WEIGHTS).rename(other)
    (folder / WEIGHTS).symlink_to(other)


def pipe(folder):
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")


def pickle_only(folder):
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def no_weights(folder):
    (folder / WEIGHTS).unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (cut, "bytes, where its last tensor ends"),
        (lengthen, "bytes, where its last tensor ends"),
        (header_beyond_the_file, "names a header of 1000000"),
        (header_of_more_than_100_megabytes, "names a header of 100000001"),
        (empty_file, "has 0 bytes"),
        (overlap, "without gaps and overlaps"),
        (larger_than_its_file, "without gaps and overlaps"),
        (shape_without_its_bytes, "4000000 bytes for this shape and dtype"),
        (negative_offset, "of numbers >= 0"),
        (unknown_dtype, "'PICKLE'"),
        (integers, "of dtypes ['I32']"),
        (twice_in_the_header, f"['{NORM}'] twice"),
        (header_that_is_no_json, "is not JSON"),
        (header_that_is_a_list, "holds a list"),
        (deep_header, "is not JSON"),
        (huge_numbers, "of numbers >= 0"),
        (missing_tensor, f"['{NORM}'] missing, ['another'] unknown"),
        (other_shape, f"{NORM} of shape (1, 3)"),
        (missing_config, "has no file config.json"),
        (config_of_a_gigabyte, "has 1073741824 bytes"),
        (config_that_is_a_list, "holds a list"),
        (deep_config, "more than 100 deep"),
        (config_without_a_number, "{'__float__': 'many'}"),
        (link_out_of_the_folder, "leads to"),
        (pipe, "has no file config.json"),
        (pickle_only, "can hold any program"),
        (no_weights, "has neither model.safetensors nor"),
    ],
)
def test_refused_is_a_spoiled_folder(folder, spoil, message):
    spoil(folder)
    assert message in assert_refused("", from_pretrained, folder)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"model_type": "gpt2"}, "model_type='gpt2'"),
        ({"model_type": ["mamba"]}, "one of ['delta_net', 'falcon_mamba'"),
        ({"hidden_size": -3}, "hidden_size=-3"),
        ({"hidden_size": 10**12}, "hidden_size=1000000000000"),
        ({"num_hidden_layers": 10**5}, "num_hidden_layers=100000"),
        ({"num_hidden_layers": 0}, "no layer"),
        ({"vocab_size": "eleven"}, "vocabulary_size='eleven'"),
        ({"vocab_size": None}, "vocabulary_size=None"),
        ({"conv_kernel": 2.5}, "width=2.5"),
        ({"expand": "two"}, "of which no model could be made"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu'"),
        ({"hidden_size": 4}, "of shape"),
        ({"num_hidden_layers": 2}, "missing"),
        ({"tie_word_embeddings": False}, "['lm_head.weight'] missing"),
    ],
)
def test_refused_is_a_config_of_another_model(folder, entries, message):
    change(folder, **entries)
    assert message in assert_refused("", from_pretrained, folder)


def test_refused_is_a_config_without_a_size(folder):
    config = {name: value for name, value in CONFIG.items() if name != "hidden_size"}
    (folder / "config.json").write_text(json.dumps(config))
    came = f"In the folder {folder}: config.json has no 'hidden_size'"
    assert_refused(came, from_pretrained, folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../model.safetensors", "names a file"),
        ("/etc/passwd", "names a file"),
        ("a/b.safetensors", "names a file"),
        ("..", "names a file"),
        ("", "names a file"),
        ("x\0y", "names a file"),
        ("x" * 300, "names a file"),
        ("absent.safetensors", "has no file"),
    ],
)
def test_refused_is_an_index_that_leads_out_of_its_folder(shards, name, message):
    index = json.loads((shards / INDEX).read_text())
    index["weight_map"][NORM] = name
    (shards / INDEX).write_text(json.dumps(index))
    assert message in assert_refused(str(shards), from_pretrained, shards)


def test_refused_is_an_index_that_is_no_map(shards):
    for index in ({}, {"weight_map": 3}, {"weight_map": {NORM: 3}}):
        (shards / INDEX).write_text(json.dumps(index))
        assert "has weight_map=" in assert_refused("", from_pretrained, shards)


def test_refused_is_a_tensor_in_two_shards(shards):
    first, second, *_ = sorted(shards.glob("*.safetensors"))
    second.write_bytes(first.read_bytes())
    assert "every tensor in one shard" in assert_refused("", from_pretrained, shards)


def test_refused_is_an_index_without_a_tensor(shards):
    index = json.loads((shards / INDEX).read_text())
    del index["weight_map"][NORM]
    (shards / INDEX).write_text(json.dumps(index))
    assert NORM in assert_refused("", from_pretrained, shards)


def test_refused_is_an_index_of_a_gigabyte(shards):
    with (shards / INDEX).open("wb") as file:
        file.truncate(2**30)
    assert "has 1073741824 bytes" in assert_refused("", from_pretrained, shards)


def test_repository_is_not_downloaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = assert_refused("'owner/name', which is no folder", from_pretrained, "owner/name")
    assert "seqmem.models.download('owner/name')" in message
    assert "download" not in assert_refused("", from_pretrained, tmp_path / "absent")
    assert_refused("download got repo='model'", download, "model")


def test_cache_of_the_hub_is_read(folder, model, tmp_path):
    """Whose snapshots are links to blobs beside them."""
    snapshot, blobs = tmp_path / "cache" / "snapshots" / "0123", tmp_path / "cache" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for path in folder.iterdir():
        path.rename(blobs / path.name[::-1])
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name[::-1]}")
    assert_same(from_pretrained(snapshot), model)


def assert_same(model, other):
    assert jax.tree.structure(model) == jax.tree.structure(other)
    for leaf, own in zip(jax.tree.leaves(model), jax.tree.leaves(other), strict=True):
        assert leaf.dtype == own.dtype
        np.testing.assert_array_equal(leaf, own)


def test_older_name_is_read(folder, model):
    """Unless the present one is there too."""
    header, body = read(folder)
    name, old = "backbone.embeddings.weight", "backbone.embedding.weight"
    write(folder, {old if own == name else own: entry for own, entry in header.items()}, body)
    assert_same(from_pretrained(folder), model)
    end = len(body)
    header[old] = {"dtype": "F32", "shape": [0], "data_offsets": [end, end]}
    write(folder, header, body)
    assert f"['{old}'] unknown" in assert_refused("", from_pretrained, folder)


def test_shards_hold_the_model(shards, model):
    files = sorted(shards.glob("model-*-of-*.safetensors"))
    assert len(files) == 3
    sizes = [len(path.read_bytes()) for path in files]
    index = json.loads((shards / INDEX).read_text())
    assert index["metadata"]["total_size"] == sum(leaf.nbytes for leaf in jax.tree.leaves(model))
    assert set(index["weight_map"].values()) == {path.name for path in files}
    assert sum(sizes) > index["metadata"]["total_size"]
    assert_same(from_pretrained(shards), model)


def test_files_are_those_of_the_package_safetensors(folder, model):
    numpy = pytest.importorskip("safetensors.numpy")
    tensors = numpy.load_file(folder / WEIGHTS)
    assert tensors.keys() == read(folder)[0].keys() - {"__metadata__"}
    np.testing.assert_array_equal(tensors["backbone.embeddings.weight"], model.E)


def test_dtype_is_that_of_the_file_or_the_one_asked_for(folder, model, tmp_path):
    dtype = "bfloat16"
    narrow = from_pretrained(folder, dtype=dtype)
    assert {leaf.dtype for leaf in jax.tree.leaves(narrow)} == {np.dtype(dtype)}
    assert_same(narrow, jax.tree.map(lambda leaf: leaf.astype(dtype), model))
    to_pretrained(narrow, tmp_path / "narrow")
    assert json.loads((tmp_path / "narrow" / "config.json").read_text())["dtype"] == dtype
    again = from_pretrained(tmp_path / "narrow")
    for leaf, own in zip(jax.tree.leaves(again), jax.tree.leaves(narrow), strict=True):
        np.testing.assert_array_equal(leaf, own)


@pytest.mark.parametrize("dtype", ["float64", "int32"])
def test_dtype_that_parameters_cannot_have_is_refused(folder, dtype):
    assert_refused(f"parameters of dtype {dtype}", from_pretrained, folder, dtype=dtype)


def test_parameters_are_copies(folder, model):
    """Also of tensors at a multiple of 64 bytes, which XLA could use where they are."""
    header, body = read(folder)
    text = json.dumps(header)
    write(folder, text + " " * (-(8 + len(text)) % 64), body)
    loaded = from_pretrained(folder)
    with (folder / WEIGHTS).open("r+b") as file:
        file.seek(-len(body), os.SEEK_END)
        file.write(bytes(len(body)))
    assert_same(loaded, model)


def test_folder_with_files_is_kept(folder, model):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert_refused(f"{folder}, which holds files", to_pretrained, model, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert_refused("", to_pretrained, model, folder / "config.json", overwrite=True)


def test_overwritten_folder_keeps_other_files_alone(shards, model):
    (shards / "tokenizer.json").write_text("mine")
    other = jax.tree.map(lambda leaf: leaf + 1, model)
    to_pretrained(other, shards, overwrite=True)
    assert {path.name for path in shards.iterdir()} == {"config.json", WEIGHTS, "tokenizer.json"}
    assert (shards / "tokenizer.json").read_text() == "mine"
    assert_same(from_pretrained(shards), other)
    assert [path.name for path in shards.parent.iterdir()] == ["shards"]


def test_interrupted_call_leaves_the_old_model(folder, model, monkeypatch):
    def fail(file, tensor):
        raise OSError("the disk is full")

    monkeypatch.setattr("seqmem.models._pretrained.save.write_tensor", fail)
    with pytest.raises(OSError, match="the disk is full"):
        to_pretrained(jax.tree.map(lambda leaf: leaf + 1, model), folder, overwrite=True)
    assert_same(from_pretrained(folder), model)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_model_without_a_published_layout_is_not_saved(model, tmp_path):
    assert_refused("a Stack without a config", to_pretrained, model.body, tmp_path / "x")
    other = eqx.tree_at(lambda model: model.norm.scale, model, np.ones(5, np.float32))
    assert_refused("a model whose layers are others", to_pretrained, other, tmp_path / "x")
    odd = eqx.tree_at(lambda model: model.norm.scale, model, np.ones(3, np.int32))
    assert_refused("parameters of dtypes ['int32']", to_pretrained, odd, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_config_that_makes_no_model_is_refused():
    def make(config):
        return from_config(config, key=jax.random.key(0))

    assert_refused("from_config got a str", make, "folder")
    assert_refused("a config with model_type='None'", make, {})
    assert_refused("a config that JSON cannot hold", make, CONFIG | {"more": {1, 2}})


def test_tokenizer_is_that_of_the_package(tmp_path):
    assert_refused(f"{tmp_path} has no tokenizer.json", load_tokenizer, tmp_path)
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.models.WordLevel({"one": 0, "two": 1, "?": 2}, unk_token="?")
    tokenizers.Tokenizer(model).save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path).encode("two").ids == [1]
    other = tmp_path / "other"
    other.mkdir()
    (other / "tokenizer.json").symlink_to(tmp_path / "tokenizer.json")
    assert_refused(f"{other / 'tokenizer.json'} leads to", load_tokenizer, other)
    panic = {"type": "BPE", "vocab": {"a": 0, "x": 1, "ax": 2}, "merges": [["a", "x"]]}
    panic |= {"continuing_subword_prefix": "long"}  # longer than a token, on which Rust panics
    panic = {"version": "1.0", "added_tokens": [], "model": panic}
    for text in ("{}", json.dumps(panic)):
        path = tmp_path / "tokenizer.json"
        path.write_text(text)
        assert_refused(f"{path} holds no tokenizer", load_tokenizer, tmp_path)


def test_download_takes_neither_pickles_nor_programs(tmp_path, monkeypatch):
    calls = []

    class Hub:
        @staticmethod
        def snapshot_download(repo, **options):
            calls.append((repo, options))
            return str(tmp_path)

    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub)
    assert download("owner/name") == tmp_path
    assert download("owner/name", tmp_path / "x") == tmp_path
    (repo, options), (_, local) = calls
    assert repo == "owner/name"
    assert not any(
        p.endswith((".bin", ".pt", ".py")) or p == "*" for p in options["allow_patterns"]
    )
    assert "local_dir" not in options
    assert local["local_dir"] == tmp_path / "x"
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModuleNotFoundError, match=r"(?s)^huggingface_hub .+\n  What to do: pip"):
        download("owner/name")
