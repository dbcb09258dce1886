"""`seqmem.cite`: the papers that docstrings name, and the entries of `references.bib`."""

import importlib
import inspect
import pathlib
import pkgutil
import re

import equinox as eqx
import jax
import pytest

import seqmem
from seqmem._citation import bibliography

CITATION = pathlib.Path(__file__).parent.parent.parent / "CITATION.cff"
NO_PAPER = {"KeyCurvature", "WithValues", "ResidualWithValues"}  # next to layers that have one
KEY = jax.random.key(0)


def keys_of(text):
    return re.findall(r"^@\w+\{(.*),$", text, re.M)


def public_objects():
    """Every public class and function of seqmem and of its sub-packages."""
    modules = [getattr(seqmem, name) for name in seqmem.__all__]
    modules = [module for module in modules if inspect.ismodule(module)]
    modules += [part for module in modules for part in vars(module).values() if is_of_seqmem(part)]
    modules += block_modules()  # their layers are not public
    objects = [part for module in (seqmem, *modules) for part in vars(module).values()]
    return {part for part in objects if inspect.isclass(part) or inspect.isroutine(part)}


def is_of_seqmem(part):
    return inspect.ismodule(part) and part.__name__.startswith("seqmem.")


def block_modules():
    names = pkgutil.iter_modules(seqmem.blocks.__path__, "seqmem.blocks.")
    return [importlib.import_module(module.name) for module in names]


def cited_keys():
    return {
        entry.key
        for part in public_objects()
        if bibliography.has_source(inspect.getdoc(part))
        for entry in bibliography.entries_of(inspect.getdoc(part))
    }


def test_every_public_cell_has_an_entry():
    cells = [
        part
        for name, part in vars(seqmem).items()
        if inspect.isclass(part) and issubclass(part, seqmem.AbstractCell)
        if not name.startswith("Abstract")
    ]
    assert len(cells) > 90
    assert not [cell.__name__ for cell in cells if keys_of(seqmem.cite(cell)) == ["seqmem"]]


def test_every_layer_of_a_block_has_an_entry():
    layers = {
        part
        for module in block_modules()
        for part in vars(module).values()
        if inspect.isclass(part) and part.__module__ == module.__name__
        if issubclass(part, seqmem.AbstractLayer) and not part.__name__.startswith("Abstract")
    }
    assert len(layers) > 25
    without = {part.__name__ for part in layers if keys_of(seqmem.cite(part)) == ["seqmem"]}
    assert without == NO_PAPER


def test_every_number_in_a_source_has_an_entry_and_every_entry_a_source():
    entries = {entry.key for entry in bibliography.entries_by_name().values()}
    assert cited_keys() ^ entries == {"seqmem"}


def test_entries_are_sorted_and_complete():
    entries = bibliography.entries_by_name()
    keys = list(dict.fromkeys(entry.key for entry in entries.values()))
    assert keys == ["seqmem", *sorted(set(keys) - {"seqmem"})]
    path = pathlib.Path(seqmem.__file__).parent / "references.bib"
    assert path.read_text(encoding="utf-8").count("\n@") == len(keys)
    for key in keys:
        fields = dict(bibliography.FIELD.findall(entries[key].text))
        assert {"author", "title"} <= set(fields), key
        assert re.fullmatch(r"\d{4}", fields.get("year", "")), key
        assert entries[key].text.count("{") == entries[key].text.count("}"), key


def test_cite_walks_through_wrappers_structures_blocks_and_methods():
    recurrent = seqmem.GRU(3, 4, recurrent=seqmem.Orthogonal(), key=KEY)
    block = eqx.filter_eval_shape(lambda key: seqmem.blocks.mamba_block(4, 6, key=key), KEY)
    model = {"low": [seqmem.with_zoneout(recurrent)], "high": block}
    got = keys_of(seqmem.cite(model, seqmem.Newton(), seqmem.with_chrono_bias, model))
    assert got == ["seqmem", *sorted(set(got) - {"seqmem"})]
    assert set(got) >= {
        "cho2014learning",  # the cell
        "lezcano2019cheap",  # its recurrent matrix
        "krueger2016zoneout",  # its wrapper
        "gu2023mamba",  # the block
        "lim2023parallelizing",  # the method
        "tallec2018can",  # a function
    }


def test_entry_of_seqmem_is_that_of_the_citation_file():
    own = seqmem.cite()
    assert keys_of(own) == ["seqmem"]
    citation = CITATION.read_text(encoding="utf-8")
    title = re.search(r'^title: "(.*)"$', citation, re.M)[1]
    (author,) = re.findall(r"^  - name: (.*)$", citation, re.M)
    assert f"title = {{{title}}}" in own.replace("{JAX}", "JAX")
    assert f"author = {{{{{author}}}}}" in own
    assert f"version = {{{seqmem.__version__}}}" in own


@pytest.mark.parametrize("number", ["arXiv:9912.12345", "doi:10.1000/xyz_1"])
def test_cell_of_ones_own_is_cited_by_its_number(number):
    class Mine(seqmem.LSTM):
        pass

    Mine.__doc__ = f"A cell.\n\nSource: Somebody 1999, {number}. Differs: doi:10.1000/not-this."
    text = seqmem.cite(Mine(2, 3, key=KEY))
    assert keys_of(text) == ["seqmem", number, "gers2000learning", "hochreiter1997long"]
    assert f"{{{number.partition(':')[2]}}}" in text
