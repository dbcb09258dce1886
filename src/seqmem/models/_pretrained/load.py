"""Published models from their files, or new ones of the same layouts."""

import collections
import dataclasses
import fnmatch
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import PRNGKeyArray

from ..._core.errors import bad_input, is_ours
from .._language_model import LanguageModel
from .config import CheckedConfig, decoded, text_of
from .folder import Files, read_files
from .layout import Config, Layout, Part, fill, tensor_shapes
from .registry import LAYOUTS
from .safetensors import DTYPES, Entry


def from_pretrained(
    folder: str | os.PathLike[str], *, dtype: DTypeLike | None = None
) -> LanguageModel:
    """A language model from a folder as Hugging Face transformers and flash-linear-attention save
    it: `config.json`, and `model.safetensors` or its shards.

    Names, shapes and dtypes of all tensors are checked before the first is read. Then one at a time
    is mapped into memory and copied. Nothing in the folder is executed, and nothing is downloaded.

    Args:
        folder: with these files; `seqmem.models.download` returns one.
        dtype: of all parameters; None keeps those in the files.

    Returns:
        The model, which knows its config: `to_pretrained` writes the same files.

    Raises:
        ValueError: for a folder without these files, for pickles, for a `model_type` that is not
            known, for a config, names, shapes or dtypes that do not fit, and for files that break
            a rule of their formats.

    Example:
        >>> import tempfile, jax, seqmem
        >>> config = {"model_type": "mamba", "vocab_size": 11, "hidden_size": 6, "state_size": 3,
        ...           "num_hidden_layers": 1}
        >>> new = seqmem.models.from_config(config, key=jax.random.key(0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     seqmem.models.to_pretrained(new, folder)
        ...     model = seqmem.models.from_pretrained(folder)
        >>> bool((model.E == new.E).all()), model.E.shape     # tokens, size
        (True, (11, 6))
    """
    files = read_files(Path(folder))
    try:
        layout = layout_of(files.config)
        files = renamed(files, layout.aliases)
        entries = files.entries
        config = CheckedConfig(
            {**layout.defaults, **decoded(files.config)},
            len(entries),
            sum(entry.size // entry.dtype.itemsize for entry in entries.values() if is_real(entry)),
        )
        model, parts = structure(layout, config)
        names = _check(layout, config, files, model, parts)
    except ValueError as error:  # of a layer, which knows no folder
        raise ValueError(f"In the folder {folder}: {error}") from error
    _check_dtypes(files, parts, dtype)
    # A tensor that the files do not have has the dtype of most that they have.
    common = collections.Counter(entries[name].dtype for name in names).most_common(1)[0][0]
    target = common if dtype is None else np.dtype(dtype)
    model = jax.tree.map(lambda leaf: _as_dtype(leaf, target), model)

    def read(name: str) -> np.ndarray:
        tensor = entries[name].read()
        return tensor if dtype is None else tensor.astype(target, copy=False)

    model = fill(model, parts, read)
    assert not any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(model))
    return with_config(model, files.config)


def from_config(config: Mapping[str, Any], *, key: PRNGKeyArray) -> LanguageModel:
    """A new language model of a published layout, with random parameters.

    Args:
        config: the entries of `config.json`: `model_type`, which is one of the layouts', and the
            sizes. What some families leave out, such as `tie_word_embeddings`, may be left out.
        key: random key for the parameters.

    Returns:
        The model, which knows its config: `to_pretrained` writes its files.

    Raises:
        ValueError: for a `model_type` that is not known, and for a config that makes no model.
    """
    if not isinstance(config, Mapping):
        raise bad_input(
            f"from_config got a {type(config).__name__}.",
            "a dict of the entries of config.json.",
            "call from_pretrained for the model in a folder.",
        )
    layout = layout_of(config)
    entries = CheckedConfig({**layout.defaults, **decoded(dict(config))}, 2**31, 2**62)
    return with_config(_made(layout, entries, lambda: layout.make(entries, key)), config)


def layout_of(config: Mapping[str, Any]) -> Layout:
    """The layout of a config."""
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in LAYOUTS:
        raise bad_input(
            f"a config with model_type={str(model_type)[:200]!r}.",
            f"one of {sorted(LAYOUTS)}.",
            "choose a model of one of these families; seqmem has the layout of no other.",
        )
    return LAYOUTS[model_type]


def renamed(files: Files, aliases: Mapping[str, str]) -> Files:
    """The same tensors by the names that a layout has, where a file has older ones."""
    old = [name for name in aliases if name in files.entries and aliases[name] not in files.entries]
    entries = {aliases[name] if name in old else name: e for name, e in files.entries.items()}
    return dataclasses.replace(files, entries=entries)


def structure(layout: Layout, config: Config) -> tuple[LanguageModel, list[Part]]:
    """The shapes of a model's parameters, none of which is made, and its parts."""
    key = jax.random.key(0)
    make = eqx.filter_eval_shape
    return _made(layout, config, lambda: (make(layout.make, config, key), [*layout.parts(config)]))


def _made(layout: Layout, config: Config, make: Any) -> Any:
    """What is made of a config; a config that makes nothing is refused."""
    try:
        return make()
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
        if is_ours(error):  # which names the size
            raise
        raise bad_input(
            f"a config of model_type {layout.model_type!r} of which no model could be made: "
            f"{type(error).__name__}: {error}.",
            "the entries that the family's class writes, each with its type.",
            "compare the config with one of a model of this family.",
        ) from error


def with_config(model: LanguageModel, config: Config) -> LanguageModel:
    """The same model, which knows its config."""
    new = object.__new__(LanguageModel)
    for field in dataclasses.fields(LanguageModel):
        object.__setattr__(new, field.name, getattr(model, field.name))
    object.__setattr__(new, "config", text_of(config))
    return new


def _as_dtype(leaf: Any, dtype: np.dtype) -> Any:
    is_parameter = isinstance(leaf, jax.ShapeDtypeStruct) and jnp.issubdtype(
        leaf.dtype, jnp.floating
    )
    return jax.ShapeDtypeStruct(leaf.shape, dtype) if is_parameter else leaf


def is_real(entry: Entry) -> bool:
    """Whether it holds floating point numbers that parameters can have."""
    return entry.code in DTYPES


def _check(
    layout: Layout, config: Config, files: Files, model: LanguageModel, parts: list[Part]
) -> list[str]:
    """The names of all parameters, which the files have in the shapes of the model."""
    shapes, entries = tensor_shapes(model, parts), files.entries
    missing = sorted(shapes.keys() - entries.keys())
    ignored = layout.ignored(config)
    unknown = sorted(
        name
        for name in entries.keys() - shapes.keys()
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in ignored)
    )
    if missing or unknown:
        raise bad_input(
            f"{files.folder} has {len(entries)} tensors: {_some(missing)} missing, "
            f"{_some(unknown)} unknown.",
            f"{len(shapes)} tensors, the parameters of a model of type {layout.model_type!r}.",
            "check that the config belongs to these files, and that they are of a whole model.",
        )
    for name, shape in shapes.items():
        if entries[name].shape != shape:
            raise bad_input(
                f"{files.folder} has {name} of shape {entries[name].shape}.",
                f"{shape}, which follows from the config.",
                "check that the config belongs to these files.",
            )
    return [*shapes]


def _check_dtypes(files: Files, parts: list[Part], dtype: DTypeLike | None) -> None:
    """Parameters are real numbers, those of one row alike, and wide ones are not narrowed."""
    codes = {name: entry.code for name, entry in files.entries.items()}
    for part in parts:
        for row in part.rows:
            found = {codes[name] for name in part.names(row)}
            if found - DTYPES.keys() or (len(found) > 1 and dtype is None):
                raise bad_input(
                    f"{files.folder} has {part.names(row)} of dtypes {sorted(found)}.",
                    f"one of {[*DTYPES]}, where several tensors make one parameter for all alike.",
                    "save the model again in one precision, without quantisation.",
                )
    names = [name for part in parts for row in part.rows for name in part.names(row)]
    wanted = {np.dtype(dtype)} if dtype is not None else {DTYPES[codes[name]] for name in names}
    for each in wanted:
        if not jnp.issubdtype(each, jnp.floating) or jax.dtypes.canonicalize_dtype(each) != each:
            raise bad_input(
                f"parameters of dtype {each}{'' if dtype else f' in {files.folder}'}.",
                "floating point numbers of a precision that is enabled.",
                'pass dtype="float32", or call jax.config.update("jax_enable_x64", True) before.',
            )


def _some(names: list[str]) -> str:
    return f"{names[:5]} and {len(names) - 5} more" if len(names) > 5 else str(names)
