"""Pictures of a few things, and a sentence that says which: "two sandals, a bag and a coat"."""

import collections
import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Int, PRNGKeyArray, Shaped

from .._core.errors import bad_input

END = 0  # the id of the end of a description, which also fills what is behind it
NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine")


class Scene(NamedTuple):
    """Pictures, their descriptions as ids of words, and how many of each kind are in them."""

    pictures: Shaped[Array, "batch height width"]
    words: Int[Array, "time batch"]
    counts: Int[Array, "batch kind"]


@dataclasses.dataclass(frozen=True)
class Scenes:
    """Scenes of one to `side`² things, at most one in each cell of a grid, and what is in them.

    A thing is an image of a known kind, moved within its cell. The description names the kinds in
    their order, each with how many there are: "a trouser", "two sandals and a bag". Kinds and
    places are drawn evenly, and so are the images of a kind.

    What has the longest descriptions, a full grid of things that all differ, is apart: `batch`
    never draws it, unless with `longest=True`, and then nothing else. Where a grid would have been
    such a one, its last thing is made one of the first's kind. A grid of one cell is never apart.

    A task is names and sizes and nothing else, so it is hashable, and static under jit.

    Args:
        names: (one, several) of each kind, such as ("an ankle boot", "ankle boots"), by label.
        side: cells in a row and in a column, 1 to 3.
        cell: pixels of a cell's side.

    Raises:
        ValueError: for a side or a cell that is out of range, or fewer kinds than cells.

    Example:
        >>> import jax, numpy as np
        >>> from seqmem.tasks import Scenes
        >>> names = ("a box", "boxes"), ("an axe", "axes"), ("a toy car", "toy cars")
        >>> task = Scenes(names, side=1, cell=7)
        >>> task.describe([2, 0, 2]), task.describe([1])
        ('a box and two toy cars', 'an axe')
        >>> images, labels = np.ones((5, 5, 5)), np.array([0, 0, 1, 1, 2])
        >>> scene = task.batch(jax.random.key(0), images, labels, size=11)
        >>> scene.pictures.shape, task.sentence(scene.words[:, 0])
        ((11, 7, 7), 'a toy car')
    """

    names: tuple[tuple[str, str], ...]
    side: int
    cell: int

    def __post_init__(self):
        if not 1 <= self.side <= 3 or self.cell < 1 or len(self.names) < self.side**2:
            raise bad_input(
                f"side={self.side}, cell={self.cell}, {len(self.names)} kinds.",
                "a side of 1, 2 or 3, a cell >= 1, and as many kinds as cells, side², or more.",
                "take fewer cells, or name more kinds.",
            )

    @property
    def most(self) -> int:
        """The most things in a scene."""
        return self.side**2

    @property
    def words(self) -> tuple[str, ...]:
        """Every word of a description; the id of a word is its place among them."""
        nouns = [word for both in self.names for name in both for word in name.split()]
        fixed = ["<end>", ",", "and", *NUMBERS[: self.most - 1]]
        return tuple(dict.fromkeys([*fixed, *nouns]))

    @property
    def length(self) -> int:
        """Words of the longest description, with its end."""
        nouns = sorted(len(one.split()) for one, _ in self.names)[-self.most :]
        return sum(nouns) + self.most

    def describe(self, kinds: Sequence[int]) -> str:
        """The description of a scene of things of these kinds, in any order."""
        counts = collections.Counter(int(kind) for kind in kinds)
        parts = [" ".join(self._part(kind, counts[kind])) for kind in sorted(counts)]
        return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))

    def sentence(self, ids: Int[Array | np.ndarray, " time"]) -> str:
        """The text that ids of words stand for, up to the end."""
        text = " ".join(self.words[i] for i in np.asarray(ids).tolist())
        return text.split(self.words[END])[0].strip().replace(" ,", ",")

    def batch(
        self,
        key: PRNGKeyArray,
        images: Shaped[Array | np.ndarray, "image height width"],
        labels: Int[Array | np.ndarray, " image"],
        *,
        size: int,
        longest: bool = False,
    ) -> Scene:
        """`size` scenes made of these images; the same for the same key.

        Args:
            key: for all that is drawn.
            images: of any dtype, which the pictures have too; 0 is the background.
            labels: the kind of each image, ascending; there is at least one of every kind.
            size: how many scenes.
            longest: draw scenes with the longest descriptions, and no others.

        Raises:
            ValueError: where the images are no images with a label each, or larger than a cell, or
                labels that are not traced are not ascending.
        """
        images, labels = jnp.asarray(images), jnp.asarray(labels, jnp.int32)
        room = self.cell - np.array(images.shape[1:])
        if images.ndim != 3 or labels.shape != images.shape[:1] or min(room) < 0:
            raise bad_input(
                f"images of shape {images.shape}, labels of shape {labels.shape}.",
                f"images (image, height, width) of at most {self.cell} pixels, and a label each.",
                "make the cells larger, or the images smaller.",
            )
        if not isinstance(labels, Tracer) and (jnp.diff(labels) < 0).any():
            raise bad_input(
                "labels that are not ascending.",
                "the images of one kind after those of the kind before.",
                "put both into the order of np.argsort(labels, kind='stable'), once.",
            )
        of_things, of_kinds, of_places, of_images, of_moves = jax.random.split(key, 5)
        grid = (size, self.most)
        things = jax.random.randint(of_things, (size, 1), 1, self.most + 1, jnp.int32)
        if longest:
            things = jnp.full_like(things, self.most)
        kinds = self._kinds(of_kinds, size, longest)
        number = jnp.arange(self.most, dtype=jnp.int32)
        there = number < things
        counts = there[..., None] & (
            kinds[..., None] == jnp.arange(len(self.names), dtype=jnp.int32)
        )
        counts = counts.sum(1, dtype=jnp.int32)

        which = jax.random.permutation(
            of_places, jnp.broadcast_to(number, grid), axis=1, independent=True
        )
        kinds, there = (jnp.take_along_axis(what, which, 1) for what in (kinds, there))
        chosen = images[_one_of_each(of_images, labels, kinds)]
        chosen = jnp.where(there[..., None, None], chosen, jnp.zeros_like(chosen))
        moves = jax.random.randint(of_moves, (*grid, 2), 0, room + 1, jnp.int32)
        cells = jax.vmap(jax.vmap(self._in_cell))(chosen, moves)
        cells = cells.reshape(size, self.side, self.side, self.cell, self.cell)
        pictures = cells.swapaxes(2, 3).reshape(size, *2 * [self.side * self.cell])
        return Scene(pictures, jax.vmap(self._words)(counts).T, counts)

    def _kinds(self, key: PRNGKeyArray, size: int, longest: bool) -> Int[Array, "batch thing"]:
        """The kind of each thing, of as many as there may be."""
        several = len(self.names)
        if longest:
            keys = jax.random.split(key, size)
            return jax.vmap(lambda own: jax.random.permutation(own, several)[: self.most])(keys)
        kinds = jax.random.randint(key, (size, self.most), 0, several, jnp.int32)
        ordered = jnp.sort(kinds, 1)
        differ = (ordered[:, 1:] != ordered[:, :-1]).all(1)
        return kinds.at[:, -1].set(jnp.where(differ, kinds[:, 0], kinds[:, -1]))

    def _in_cell(
        self, image: Shaped[Array, "height width"], move: Int[Array, "2"]
    ) -> Shaped[Array, "cell cell"]:
        empty = jnp.zeros((self.cell, self.cell), image.dtype)
        return jax.lax.dynamic_update_slice(empty, image, move)

    def _part(self, kind: int, count: int) -> list[str]:
        one, several = self.names[kind]
        if count > 1:
            return [NUMBERS[count - 2], *several.split()]
        return one.split()

    def _words(self, counts: Int[Array, " kind"]) -> Int[Array, " time"]:
        """The description as ids: of each kind a separator and what is told, or nothing."""
        id_of = {word: i for i, word in enumerate(self.words)}
        width = max(len(f"two {name}".split()) for both in self.names for name in both)
        parts = np.full((len(self.names), self.most + 1, width), END)
        for kind in range(len(self.names)):
            for count in range(1, self.most + 1):
                ids = [id_of[word] for word in self._part(kind, count)]
                parts[kind, count, : len(ids)] = ids
        told = (counts > 0).astype(jnp.int32)
        before, after = jnp.cumsum(told) - told, jnp.cumsum(told[::-1])[::-1] - told
        separators = jnp.where(after > 0, id_of[","], id_of["and"])
        separators = jnp.where((told > 0) & (before > 0), separators, END)
        named = jax.vmap(lambda own, count: own[count])(jnp.asarray(parts, jnp.int32), counts)
        slots = jnp.concatenate([separators.astype(jnp.int32)[:, None], named], 1).ravel()
        return slots[jnp.argsort(slots == END, stable=True)][: self.length]


def _one_of_each(
    key: PRNGKeyArray, labels: Int[Array, " image"], kinds: Int[Array, "*shape"]
) -> Int[Array, "*shape"]:
    """The number of an image of each of these kinds."""
    first, behind = (
        jnp.searchsorted(labels, kinds, side=side).astype(jnp.int32) for side in ("left", "right")
    )
    return jax.random.randint(key, kinds.shape, first, behind, jnp.int32)
