"""A published model, and the folders that hold it."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmem.models import to_pretrained
from seqmem.models._pretrained import safetensors
from seqmem.models._pretrained.load import structure, with_config
from seqmem.models._pretrained.registry import LAYOUTS
from tests.helpers.pretrained_files import CONFIG


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


@pytest.fixture(autouse=True)
def _nothing_is_read(request, monkeypatch):
    """No tensor is read from a folder that is refused."""
    if "test_refused" in request.node.name:

        def refuse(entry):
            raise AssertionError(f"{entry.path} was read")

        monkeypatch.setattr(safetensors.Entry, "read", refuse)
