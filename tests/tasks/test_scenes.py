"""`Scenes`: images match their descriptions, and draws are uniform."""

import functools

import jax
import numpy as np
import pytest

from seqmem.tasks import Scenes
from tests.helpers.refusals import assert_refused

NAMES = (
    ("an owl", "owls"),
    ("a fox", "foxes"),
    ("a polar bear", "polar bears"),
    ("a sheep", "sheep"),
    ("a mouse", "mice"),
)
TASK = Scenes(NAMES, grid_size=2, slot_size=7)
LABELS = np.array([0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4], np.uint8)
# All pixels of an image have one value, its number, which gives its kind.
IMAGES = np.arange(1, 12, dtype=np.uint8)[:, None, None] * np.ones((1, 5, 3), np.uint8)


def draw_scenes(task, seed, images, labels, **options):
    batch = jax.jit(functools.partial(task.batch, **options))
    return jax.tree.map(np.asarray, batch(jax.random.key(seed), images, labels))


@functools.cache
def scenes(seed, longest=False):
    return draw_scenes(TASK, seed, IMAGES, LABELS, size=997, longest=longest)


def slots_of(images):
    """[batch, slot, height, width]"""
    slots = images.reshape(-1, 2, 7, 2, 7).swapaxes(2, 3)
    return slots.reshape(-1, 4, 7, 7)


def kinds_in(slots):
    return [int(LABELS[slot.max() - 1]) for slot in slots if slot.any()]


def test_description_names_the_objects_in_the_image():
    batch = scenes(0)
    for slots, words, counts in zip(
        slots_of(batch.images), batch.words.T, batch.counts, strict=True
    ):
        kinds = kinds_in(slots)
        assert TASK.sentence(words) == TASK.describe(kinds)
        np.testing.assert_array_equal(counts, np.bincount(kinds, minlength=5))


@pytest.mark.parametrize(
    ("kinds", "sentence"),
    [
        ([0], "an owl"),
        ([1], "a fox"),
        ([3, 3], "two sheep"),
        ([4, 0], "an owl and a mouse"),
        ([2, 1, 2], "a fox and two polar bears"),
        ([4, 1, 4, 0], "an owl, a fox and two mice"),
        ([4, 3, 2, 0], "an owl, a polar bear, a sheep and a mouse"),
    ],
)
def test_description_has_articles_plurals_commas_and_an_and(kinds, sentence):
    assert TASK.describe(kinds) == sentence


def test_object_is_complete_and_within_its_slot():
    for slot in slots_of(scenes(0).images).reshape(-1, 7, 7):
        if slot.any():
            rows, columns = np.nonzero(slot)
            assert np.ptp(rows) + 1 == 5
            assert np.ptp(columns) + 1 == 3
            assert len(np.unique(slot[slot > 0])) == 1
            assert (slot > 0).sum() == 15


def test_slots_offsets_counts_kinds_and_images_are_uniform():
    slots = slots_of(scenes(0).images)
    exists = slots.any((2, 3))
    num_objects = exists.sum(1)
    images = slots.max((2, 3))[exists]
    rows = slots.any(3).argmax(2)[exists]
    columns = slots.any(2).argmax(2)[exists]
    kinds = LABELS[images - 1]
    of_kind_2 = images[kinds == 2]  # which has three images
    for values, possible in [
        (num_objects, range(1, 5)),
        (np.nonzero(exists)[1], range(4)),
        (rows, range(3)),
        (columns, range(5)),
        (kinds, range(5)),
        (of_kind_2, (5, 6, 7)),
    ]:
        frequencies = np.array([(values == value).mean() for value in possible])
        p = 1 / len(frequencies)
        assert frequencies.sum() == pytest.approx(1)
        assert np.abs(frequencies - p).max() < 5 * np.sqrt(p * (1 - p) / len(values))


def test_longest_descriptions_are_held_out():
    length = (scenes(0).words > 0).sum(0)
    assert (scenes(0).counts.max(1) > 1)[scenes(0).counts.sum(1) == 4].all()
    held_out = scenes(1, longest=True)
    assert (held_out.counts.sum(1) == 4).all()
    assert (held_out.counts.max(1) == 1).all()
    assert ((held_out.words > 0).sum(0) > length.max()).all()
    assert TASK.length == (held_out.words > 0).sum(0).max() + 1 == len(held_out.words)


def test_same_key_gives_the_same_scenes():
    second = draw_scenes(TASK, 0, IMAGES, LABELS, size=997)
    for one, other in zip(scenes(0), second, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (scenes(0).images != scenes(2).images).any()


def test_scenes_have_the_dtype_of_the_images():
    assert scenes(0).images.dtype == np.uint8


@pytest.mark.slow
@pytest.mark.parametrize("grid_size", [1, 3])
def test_scenes_have_other_grid_sizes(grid_size):
    names = tuple((f"a n{kind}", f"n{kind}s") for kind in range(11))
    task = Scenes(names, grid_size=grid_size, slot_size=5)
    labels = np.arange(11)
    images = (labels + 1)[:, None, None] * np.ones((1, 5, 5), np.int32)
    batch = draw_scenes(task, 0, images, labels, size=97)
    assert batch.images.shape == (97, 5 * grid_size, 5 * grid_size)
    for image, words in zip(batch.images, batch.words.T, strict=True):
        slots = image[::5, ::5].ravel()
        assert task.sentence(words) == task.describe(slots[slots > 0] - 1)


def test_scenes_refuse_wrong_sizes_and_labels_in_three_parts():
    for names, grid_size, slot_size in [(NAMES, 0, 7), (NAMES, 4, 7), (NAMES, 3, 7), (NAMES, 2, 0)]:
        assert_refused("Scenes got", Scenes, names, grid_size, slot_size)
    for images, labels in [
        (IMAGES, LABELS[1:]),
        (IMAGES, LABELS[::-1]),
        (IMAGES[0], LABELS),
        (np.ones((11, 8, 3)), LABELS),
    ]:
        assert_refused("", TASK.batch, jax.random.key(0), images, labels, size=3)
