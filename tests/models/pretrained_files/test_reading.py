"""What is read from a folder: names, dtypes and links; parameters are copies."""

import json
import os

import jax
import numpy as np
import pytest

from seqmem.models import from_pretrained, to_pretrained
from tests.helpers.pretrained_files import WEIGHTS, assert_same, read, write
from tests.helpers.refusals import assert_refused


def test_cache_of_the_hub_is_read(folder, model, tmp_path):
    """Whose snapshots are links to blobs beside them."""
    snapshot, blobs = tmp_path / "cache" / "snapshots" / "0123", tmp_path / "cache" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for path in folder.iterdir():
        path.rename(blobs / path.name[::-1])
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name[::-1]}")
    assert_same(from_pretrained(snapshot), model)


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
