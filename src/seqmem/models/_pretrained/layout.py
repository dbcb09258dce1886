"""`Layout`: how a published family of models names its sizes and its tensors."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from ..._core.errors import bad_input
from ...interop._named_shapes import Sizes, shape_of, solve_sizes
from ...interop.weight_table import AnyArray, Row, at, same, split
from .._language_model import LanguageModel

Config = Mapping[str, Any]
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Part:
    """A part of a model, and the rows of its tensors.

    Args:
        path: of the part in the model, such as "body.layers.0.layer.layers.1"; "" is the model.
        prefix: what stands before the rows' names in the file: "backbone.layers.0.mixer.".
        rows: every parameter of the part. Sizes in their words hold for this part alone.
        known: sizes that the shapes of our parameters do not tell.
    """

    path: str
    prefix: str
    rows: Sequence[Row]
    known: Mapping[str, int] = field(default_factory=dict)

    def paths(self, row: Row) -> list[str]:
        """The paths of a row's parameters in the whole model."""
        return [f"{self.path}.{path}" if self.path else path for path in row.ours]

    def names(self, row: Row) -> list[str]:
        """The names of a row's tensors in the file."""
        return [self.prefix + name for name in row.theirs]

    def sizes(self, model: LanguageModel) -> Sizes:
        """All sizes in the rows' words, from the shapes of our parameters."""
        pairs = [
            (words, at(model, path).shape)
            for row in self.rows
            for path, words in zip(self.paths(row), row.ours.values(), strict=True)
        ]
        return solve_sizes(pairs, self.known)


@dataclass(frozen=True)
class Layout:
    """A family of models.

    Args:
        model_type: the entry of that name in `config.json`.
        make: a model with these sizes and new parameters, of a config and a key.
        parts: what holds the parameters of the model of a config. Every array of the model stands
            in one of them.
        ignored: names in a file that hold no parameters of their own: "lm_head.weight" where it is
            a copy of the embedding. A * in a name is any text. A function of the config.
        defaults: entries of a config that names none, which the family's class takes: files leave
            out `tie_word_embeddings`, for one.
        aliases: names that older files have, each with the one that is written.
    """

    model_type: str
    make: Callable[[Config, PRNGKeyArray], LanguageModel]
    parts: Callable[[Config], Sequence[Part]]
    ignored: Callable[[Config], Sequence[str]] = lambda config: ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)


def alike(make: Callable[[PRNGKeyArray], Any], number: int, key: PRNGKeyArray) -> list[Any]:
    """So many layers, each of a key. `make` is traced once, which for a model of 50 layers is most
    of the time in which its shapes are found.
    """
    make = eqx.filter_jit(make)
    return [make(each) for each in jax.random.split(key, number)]


def outer_part(config: Config, embedding: str, norm: str | None = None) -> Part:
    """The part of the embedding, the last norm, and the head, which a tied model does not have.

    Args:
        config: of the model.
        embedding: the name of its tensor in the file.
        norm: the same of a norm with a scale alone; None where the norm has a part of its own.
    """
    rows = [same("E", embedding, "tokens size")]
    if norm is not None:
        rows.append(same("norm.scale", norm, "size"))
    if not config["tie_word_embeddings"]:
        rows.append(same("V", "lm_head.weight", "tokens size"))
    return Part("", "", rows)


def tied_head(config: Config) -> list[str]:
    """The name of the head in a file of a tied model, where it is a copy of the embedding."""
    return ["lm_head.weight"] if config["tie_word_embeddings"] else []


def tensor_shapes(model: LanguageModel, parts: Sequence[Part]) -> Shapes:
    """The shape of every tensor in the file of a model, by name. The model may be a structure."""
    return {
        part.prefix + name: shape_of(words, sizes)
        for part in parts
        for sizes in [part.sizes(model)]
        for row in part.rows
        for name, words in row.theirs.items()
    }


def fill(
    model: LanguageModel, parts: Sequence[Part], read: Callable[[str], AnyArray]
) -> LanguageModel:
    """The model with the tensors of a file, each with its own dtype.

    Tensors are read row by row, so that no more than one row is held twice.

    Args:
        model: a model or its structure, whose arrays are all replaced.
        parts: of its layout.
        read: the tensor of a name, of the shape in `tensor_shapes`.
    """
    values: dict[str, Any] = {}
    for part in parts:
        sizes = part.sizes(model)
        for row in part.rows:
            paths = part.paths(row)
            shapes = [shape_of(words, sizes) for words in row.ours.values()]
            if row.theirs:
                merged = row.to_ours(*map(read, part.names(row)))
                merged = merged if row.order is None else merged[row.order(sizes)]
                arrays = split(merged, dict(zip(paths, shapes, strict=True)))
                values |= {path: jnp.array(array) for path, array in arrays.items()}
            else:
                values |= {
                    path: jnp.zeros(shape, at(model, path).dtype)
                    for path, shape in zip(paths, shapes, strict=True)
                }
    return eqx.tree_at(
        lambda model: [at(model, path) for path in values], model, [*values.values()]
    )


def tensors(model: LanguageModel, parts: Sequence[Part]) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors of a model by name: the inverse of `fill`, one row after another."""
    for part in parts:
        sizes = part.sizes(model)
        for row in part.rows:
            if not row.theirs:
                continue
            merged = row.to_theirs(*(np.asarray(at(model, path)) for path in part.paths(row)))
            if row.order is not None:
                merged = merged[np.argsort(row.order(sizes))]
            shapes = [shape_of(words, sizes) for words in row.theirs.values()]
            arrays = split(merged, dict(zip(part.names(row), shapes, strict=True)))
            yield from ((name, np.asarray(array)) for name, array in arrays.items())


def check_value(config: Config, name: str, *expected: Any) -> None:
    """Refuse a config whose entry has another value than the ones that are known.

    Raises:
        ValueError: for another value.
    """
    if config.get(name, expected[0]) not in expected:
        raise bad_input(
            f"a config of model_type {config.get('model_type')!r} with {name}={config[name]!r}.",
            f"{name} in {list(expected)}.",
            "choose a model with such a config; seqmem has no other form of it.",
        )
