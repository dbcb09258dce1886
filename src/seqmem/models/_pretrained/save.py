"""Models to files as their families' classes read them."""

import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..._core.errors import bad_input
from ..._core.parametrization import evaluate_parametrizations
from ..._core.precision import precision
from ..._core.validation import check_count
from ...interop.weight_table import at
from .._language_model import LanguageModel
from .config import decoded, text_of
from .folder import CONFIG, INDEX, WEIGHTS
from .layout import Part, tensor_shapes, tensors
from .load import layout_of, structure, with_config
from .safetensors import CODES, in_shards, write_header, write_tensor


def to_pretrained(
    model: LanguageModel,
    folder: str | os.PathLike[str],
    *,
    max_shard_size: int = 5 * 10**9,
    overwrite: bool = False,
) -> None:
    """Write a model as the library that its layout comes from does: `config.json` and
    `model.safetensors`, or shards with `model.safetensors.index.json`.

    The files are written next to the folder and moved into it when they are whole. Of a folder that
    is overwritten, the weights are removed first, and the file that names the new ones is moved
    last: an interrupted call leaves no mixture of two models. Other files, such as a tokenizer's,
    stay.

    Args:
        model: of `from_pretrained` or `from_config`, with any parameters.
        folder: which does not exist yet, or is empty.
        max_shard_size: bytes of one file; a larger tensor has a file of its own.
        overwrite: whether the folder may hold files; those of a model are replaced.

    Raises:
        ValueError: for a model without a config or with other layers than its config says, for
            parameters that the format has no dtype for, and for a folder that holds files.
    """
    check_count("to_pretrained", "max_shard_size", max_shard_size)
    folder = Path(folder)
    model = evaluate_parametrizations(model)
    parts = _parts_of(model)
    if folder.exists() and not (folder.is_dir() and (overwrite or not any(folder.iterdir()))):
        raise bad_input(
            f"{folder}, which holds files.",
            "a folder that does not exist yet, or is empty.",
            "pass another folder, or overwrite=True.",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = folder.parent / f".{folder.name}-{secrets.token_hex(8)}"
    new.mkdir()
    try:
        _write(model, parts, new, max_shard_size)
        if folder.exists():
            _replace(folder, new)
        else:
            new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _parts_of(model: LanguageModel) -> list[Part]:
    """The parts of a model that has the layers of its config."""
    if not isinstance(model, LanguageModel) or model.config is None:
        raise bad_input(
            f"a {type(model).__name__} without a config.",
            "a model of from_pretrained or from_config, whose layout is a published one.",
            "save another one as a tree of arrays: equinox.tree_serialise_leaves, or Orbax.",
        )
    entries = json.loads(model.config)
    layout = layout_of(entries)
    expected, parts = structure(layout, {**layout.defaults, **decoded(entries)})
    expected = with_config(expected, entries)
    shapes = jax.tree.map(np.shape, model)
    if jax.tree.structure(model) != jax.tree.structure(expected) or shapes != jax.tree.map(
        np.shape, expected
    ):
        raise bad_input(
            "a model whose layers are others than its config says.",
            f"those of a {layout.model_type} with this config, with any parameters.",
            "put the layers back as they were, or save the model as a tree of arrays.",
        )
    strange = {str(leaf.dtype) for leaf in jax.tree.leaves(model) if leaf.dtype not in CODES}
    if strange:
        raise bad_input(
            f"parameters of dtypes {sorted(strange)}.",
            f"{sorted(str(dtype) for dtype in CODES)}.",
            "convert the parameters to one of these.",
        )
    for part in parts:
        absent = [path for row in part.rows if not row.theirs for path in part.paths(row)]
        for path in absent:
            if jnp.any(at(model, path) != 0):
                raise bad_input(
                    f"a model whose {path} is not 0.",
                    f"zeros, since a {layout.model_type} has no such parameter.",
                    "set it to zeros, or save the model as a tree of arrays.",
                )
    return parts


def _write(model: LanguageModel, parts: list[Part], folder: Path, max_shard_size: int) -> None:
    """All files of a model. One tensor after another is made and written."""
    layouts = _layouts(model, parts)
    sizes = {
        name: dtype.itemsize * int(np.prod(shape, dtype=object))
        for name, (dtype, shape) in layouts.items()
    }
    shards = [*in_shards(sizes, max_shard_size)]
    names = [f"model-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)]
    names = [WEIGHTS] if len(shards) == 1 else names
    values = tensors(model, parts)
    for shard, name in zip(shards, names, strict=True):
        with (folder / name).open("xb") as file:
            write_header(file, {tensor: layouts[tensor] for tensor in shard})
            for tensor in shard:
                given, value = next(values)
                assert (given, value.dtype, value.shape) == (tensor, *layouts[tensor])
                write_tensor(file, value)
    if len(shards) > 1:
        places = {tensor: n for n, shard in zip(names, shards, strict=True) for tensor in shard}
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": places}
        (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", "utf-8")
    (folder / CONFIG).write_text(text_of(_config(model)), "utf-8")


def _layouts(model: LanguageModel, parts: list[Part]) -> dict[str, Any]:
    """Dtype and shape of every tensor of the file, none of which is made, in their order."""
    shapes, layouts = tensor_shapes(model, parts), {}
    for part in parts:
        for row in part.rows:
            dtype = np.dtype(precision([at(model, path) for path in part.paths(row)]))
            layouts |= {name: (dtype, shapes[name]) for name in part.names(row)}
    return layouts


def _config(model: LanguageModel) -> dict[str, Any]:
    """The config, with the precision of the parameters in place of another one."""
    config = json.loads(model.config or "")
    dtypes = {str(leaf.dtype) for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_array))}
    name = "torch_dtype" if "torch_dtype" in config else "dtype"
    is_true = name not in config or config[name] in dtypes
    return config if is_true else config | {name: str(precision(model))}


def _replace(folder: Path, new: Path) -> None:
    """Move new files into a folder, whose old weights are removed."""
    for entry in (INDEX, WEIGHTS):  # without these, nothing is read
        (folder / entry).unlink(missing_ok=True)
    for shard in folder.glob("model-*-of-*.safetensors"):
        shard.unlink()
    for path in sorted(new.iterdir(), key=lambda path: path.name in (INDEX, WEIGHTS)):
        path.replace(folder / path.name)
