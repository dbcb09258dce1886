"""What a user finds by tab completion, by `help` and by a name that is nearly right."""

import importlib
import inspect
import io
import pydoc
import re

import pytest

import seqmem
from tests.helpers.refusals import THREE_PARTS

SUBPACKAGES = [*seqmem._SUBPACKAGES, "gradients.pictures"]


def public_names(module):
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        if not inspect.ismodule(value) or name == "pooling"
    }


def test_dir_has_public_names_alone():
    names = dir(seqmem)
    assert {"LSTM", "unroll", "cite", "layers", "interop"} <= set(names)
    assert not [name for name in names if name.startswith("_") or name == "annotations"]
    assert not {"jax", "importlib", "pathlib", "Any"} & set(names)


def test_star_import_has_every_public_name():
    namespace = {}
    exec("from seqmem import *", namespace)
    assert set(namespace) - {"__builtins__"} == set(seqmem.__all__)


def test_help_names_every_cell_and_every_public_name():
    out = io.StringIO()
    pydoc.Helper(output=out).help(seqmem)
    text = seqmem.__doc__
    _, description = text.rstrip().split("\n\n", 1)
    assert description in re.sub(r"^    ", "", out.getvalue(), flags=re.M)
    assert not [name for name in seqmem.__all__ if not re.search(rf"\b{name}\b", text)]
    (gated,) = re.findall(r"^    gated cells +(.*(?:\n {26}.*)*)", text, re.M)
    assert {"LSTM", "GRU", "ConvLSTM", "LIF"} <= set(gated.split())
    assert "MinGRU" not in gated.split()


@pytest.mark.parametrize("name", SUBPACKAGES)
def test_docstring_of_a_subpackage_lists_what_is_in_it(name):
    module = importlib.import_module(f"seqmem.{name}")
    names = public_names(module)
    if name == "interop":  # which lists x for from_x and to_x
        names = {re.sub(r"^(from|to)_", "", part) for part in names}
    missing = [part for part in names if not re.search(rf"\b{part}\b", module.__doc__)]
    assert not missing


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Lstm", "seqmem.LSTM"),
        ("lstm", "seqmem.LSTM"),
        ("linear_attention", "seqmem.LinearAttention"),
        ("GatedDeltaNet", "seqmem.GatedDeltaRule"),
        ("unrol", "seqmem.unroll"),
        ("Bidirectional", "seqmem.layers.Bidirectional"),
        ("TruncatedBPTT", "seqmem.training.TruncatedBPTT"),
    ],
)
def test_nearly_right_name_is_answered_with_the_right_one(name, meant):
    with pytest.raises(AttributeError, match=THREE_PARTS) as error:
        getattr(seqmem, name)
    assert str(error.value).endswith(f"What to do: write {meant}.")


def test_name_that_is_close_to_none_is_an_attribute_error():
    assert not hasattr(seqmem, "transformer_xl")
    with pytest.raises(AttributeError, match=r"see dir\(seqmem\)"):
        _ = seqmem.quaternions
