"""A model in several files, and indexes of files that are wrong or hostile."""

import json

import jax
import pytest

from seqmem.models import from_pretrained
from tests.helpers.pretrained_files import INDEX, NORM, assert_same
from tests.helpers.refusals import assert_refused


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


def test_shards_hold_the_model(shards, model):
    files = sorted(shards.glob("model-*-of-*.safetensors"))
    assert len(files) == 3
    sizes = [len(path.read_bytes()) for path in files]
    index = json.loads((shards / INDEX).read_text())
    assert index["metadata"]["total_size"] == sum(leaf.nbytes for leaf in jax.tree.leaves(model))
    assert set(index["weight_map"].values()) == {path.name for path in files}
    assert sum(sizes) > index["metadata"]["total_size"]
    assert_same(from_pretrained(shards), model)
