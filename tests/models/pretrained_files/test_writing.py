"""What is written to a folder, and what stands there afterwards."""

import equinox as eqx
import jax
import numpy as np
import pytest

from seqmem.models import from_pretrained, to_pretrained
from tests.helpers.pretrained_files import WEIGHTS, assert_same
from tests.helpers.refusals import assert_refused


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
