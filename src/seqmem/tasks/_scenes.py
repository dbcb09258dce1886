"""Scenes of a few objects, and a sentence that names them: "two sandals, a bag and a coat"."""

import collections
import dataclasses
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Int, PRNGKeyArray, Shaped

from .._core.errors import bad_input

NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine")


class Scene(NamedTuple):
    """A batch of scenes.

    Attributes:
        images: one image per scene.
        words: the ids of the words of each description, padded with `Scenes.END`.
        counts: how many objects of each kind are in each scene.
    """

    images: Shaped[Array, "batch height width"]
    words: Int[Array, "time batch"]
    counts: Int[Array, "batch kind"]


@dataclasses.dataclass(frozen=True)
class Scenes:
    """Image captioning with known answers: one to `grid_size`² objects on a grid, and their names.

    An object is an image of a known kind at a random offset in its slot of the grid. The
    description lists the kinds by label, each with its count: "a trouser", "two sandals and a bag".
    The number of objects, their kinds and slots, and the image of each kind are uniform.

    The scenes with the longest descriptions, a full grid of objects of different kinds, are held
    out: `batch` draws them with `longest=True` only, and nothing else then. Otherwise the last
    object of such a scene is changed to the kind of the first. A grid of one slot has no such
    scenes.

    `Scenes.END` is the id of the end of a description, and of its padding.

    A task consists of names and sizes only, so it is hashable, and static under jit.

    Args:
        names: (singular, plural) of each kind, such as ("an ankle boot", "ankle boots"), by label.
        grid_size: slots in a row and in a column, 1 to 3.
        slot_size: pixels of a slot's side, > 0.

    Raises:
        ValueError: where a size is out of range, or there are fewer kinds than slots.

    Example:
        >>> import jax, numpy as np
        >>> from seqmem.tasks import Scenes
        >>> names = ("a box", "boxes"), ("an axe", "axes"), ("a toy car", "toy cars")
        >>> task = Scenes(names, grid_size=1, slot_size=7)
        >>> task.describe([2, 0, 2]), task.describe([1])
        ('a box and two toy cars', 'an axe')
        >>> images, labels = np.ones((5, 5, 5)), np.array([0, 0, 1, 1, 2])
        >>> scene = task.batch(jax.random.key(0), images, labels, size=11)
        >>> scene.images.shape, task.sentence(scene.words[:, 0])
        ((11, 7, 7), 'a toy car')
    """

    END: ClassVar[int] = 0

    names: tuple[tuple[str, str], ...]
    grid_size: int
    slot_size: int

    def __post_init__(self):
        too_few = len(self.names) < self.grid_size**2
        if not 1 <= self.grid_size <= 3 or self.slot_size < 1 or too_few:
            raise bad_input(
                f"Scenes got grid_size={self.grid_size}, slot_size={self.slot_size} and "
                f"{len(self.names)} kinds.",
                "a grid_size of 1, 2 or 3, a slot_size >= 1, and at least grid_size² kinds.",
                "choose a smaller grid, or name more kinds.",
            )

    @property
    def max_objects(self) -> int:
        """The most objects in a scene."""
        return self.grid_size**2

    @property
    def words(self) -> tuple[str, ...]:
        """The words of all descriptions; the id of a word is its index."""
        nouns = [word for forms in self.names for name in forms for word in name.split()]
        fixed = ["<end>", ",", "and", *NUMBERS[: self.max_objects - 1]]
        return tuple(dict.fromkeys([*fixed, *nouns]))

    @property
    def length(self) -> int:
        """The number of words in the longest description, the end included."""
        nouns = sorted(len(singular.split()) for singular, _ in self.names)[-self.max_objects :]
        return sum(nouns) + self.max_objects

    def describe(self, kinds: Sequence[int]) -> str:
        """The description of a scene with objects of these kinds, in any order."""
        counts = collections.Counter(int(kind) for kind in kinds)
        phrases = [" ".join(self._phrase(kind, counts[kind])) for kind in sorted(counts)]
        return " and ".join(filter(None, [", ".join(phrases[:-1]), phrases[-1]]))

    def sentence(self, ids: Int[Array | np.ndarray, " time"]) -> str:
        """The text of a description as ids, up to its end."""
        text = " ".join(self.words[i] for i in np.asarray(ids).tolist())
        return text.split(self.words[self.END])[0].strip().replace(" ,", ",")

    def batch(
        self,
        key: PRNGKeyArray,
        images: Shaped[Array | np.ndarray, "image height width"],
        labels: Int[Array | np.ndarray, " image"],
        *,
        size: int,
        longest: bool = False,
    ) -> Scene:
        """`size` random scenes made of the given images; the same key gives the same scenes.

        Args:
            key: random key.
            images: images of single objects, of any dtype; 0 is the background.
            labels: the kind of each image, ascending; at least one image of every kind.
            size: the number of scenes.
            longest: draw the scenes with the longest descriptions instead of all others.

        Raises:
            ValueError: where images and labels do not match, an image is larger than a slot, or
                the labels are not ascending (traced labels are not checked).
        """
        images, labels = jnp.asarray(images), jnp.asarray(labels, jnp.int32)
        margin = self.slot_size - np.array(images.shape[1:])
        if images.ndim != 3 or labels.shape != images.shape[:1] or min(margin) < 0:
            raise bad_input(
                f"images of shape {images.shape}, labels of shape {labels.shape}.",
                f"images (image, height, width) of at most {self.slot_size} pixels, and as many "
                "labels.",
                "choose larger slots or smaller images.",
            )
        if not isinstance(labels, Tracer) and (jnp.diff(labels) < 0).any():
            raise bad_input(
                "labels that are not ascending.",
                "the images sorted by kind.",
                "put images and labels into the order of np.argsort(labels, kind='stable').",
            )
        count_key, kind_key, slot_key, image_key, offset_key = jax.random.split(key, 5)
        grid = (size, self.max_objects)
        num_objects = jax.random.randint(count_key, (size, 1), 1, self.max_objects + 1, jnp.int32)
        if longest:
            num_objects = jnp.full_like(num_objects, self.max_objects)
        kinds = self._draw_kinds(kind_key, size, longest)
        index = jnp.arange(self.max_objects, dtype=jnp.int32)
        exists = index < num_objects
        one_hot = kinds[..., None] == jnp.arange(len(self.names), dtype=jnp.int32)
        counts = (exists[..., None] & one_hot).sum(1, dtype=jnp.int32)

        slots = jax.random.permutation(
            slot_key, jnp.broadcast_to(index, grid), axis=1, independent=True
        )
        kinds, exists = (jnp.take_along_axis(leaf, slots, 1) for leaf in (kinds, exists))
        objects = images[_draw_images(image_key, labels, kinds)]
        objects = jnp.where(exists[..., None, None], objects, jnp.zeros_like(objects))
        offsets = jax.random.randint(offset_key, (*grid, 2), 0, margin + 1, jnp.int32)
        slot_images = jax.vmap(jax.vmap(self._place))(objects, offsets)
        slot_images = slot_images.reshape(size, *2 * [self.grid_size], *2 * [self.slot_size])
        scenes = slot_images.swapaxes(2, 3).reshape(size, *2 * [self.grid_size * self.slot_size])
        return Scene(scenes, jax.vmap(self._word_ids)(counts).T, counts)

    def _draw_kinds(
        self, key: PRNGKeyArray, size: int, longest: bool
    ) -> Int[Array, "batch object"]:
        """The kind of each of `max_objects` objects."""
        num_kinds = len(self.names)
        if longest:
            keys = jax.random.split(key, size)
            permutations = jax.vmap(lambda key: jax.random.permutation(key, num_kinds))(keys)
            return permutations[:, : self.max_objects]
        kinds = jax.random.randint(key, (size, self.max_objects), 0, num_kinds, jnp.int32)
        ordered = jnp.sort(kinds, 1)
        all_differ = (ordered[:, 1:] != ordered[:, :-1]).all(1)
        return kinds.at[:, -1].set(jnp.where(all_differ, kinds[:, 0], kinds[:, -1]))

    def _place(
        self, image: Shaped[Array, "height width"], offset: Int[Array, "2"]
    ) -> Shaped[Array, "slot slot"]:
        """A slot with the image at an offset."""
        empty = jnp.zeros((self.slot_size, self.slot_size), image.dtype)
        return jax.lax.dynamic_update_slice(empty, image, offset)

    def _phrase(self, kind: int, count: int) -> list[str]:
        singular, plural = self.names[kind]
        if count > 1:
            return [NUMBERS[count - 2], *plural.split()]
        return singular.split()

    def _word_ids(self, counts: Int[Array, " kind"]) -> Int[Array, " time"]:
        """The description as ids: a separator and a phrase for each kind that occurs.

        All kinds get the same number of places, unused ones filled with `END`, which are then moved
        to the end.
        """
        id_of = {word: i for i, word in enumerate(self.words)}
        width = max(len(f"two {name}".split()) for forms in self.names for name in forms)
        phrases = np.full((len(self.names), self.max_objects + 1, width), self.END)
        for kind in range(len(self.names)):
            for count in range(1, self.max_objects + 1):
                ids = [id_of[word] for word in self._phrase(kind, count)]
                phrases[kind, count, : len(ids)] = ids
        occurs = (counts > 0).astype(jnp.int32)
        before, after = jnp.cumsum(occurs) - occurs, jnp.cumsum(occurs[::-1])[::-1] - occurs
        separators = jnp.where(after > 0, id_of[","], id_of["and"])
        separators = jnp.where((occurs > 0) & (before > 0), separators, self.END)
        chosen = jax.vmap(lambda phrases, count: phrases[count])(
            jnp.asarray(phrases, jnp.int32), counts
        )
        ids = jnp.concatenate([separators.astype(jnp.int32)[:, None], chosen], 1).ravel()
        return ids[jnp.argsort(ids == self.END, stable=True)][: self.length]


def _draw_images(
    key: PRNGKeyArray, labels: Int[Array, " image"], kinds: Int[Array, "*shape"]
) -> Int[Array, "*shape"]:
    """The index of a random image of each kind; the labels are ascending."""
    first, end = (
        jnp.searchsorted(labels, kinds, side=side).astype(jnp.int32) for side in ("left", "right")
    )
    return jax.random.randint(key, kinds.shape, first, end, jnp.int32)
