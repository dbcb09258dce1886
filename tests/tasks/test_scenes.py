"""Scenes show what their descriptions say, and descriptions are sentences."""

import functools

import jax
import numpy as np
import pytest

from seqmem.tasks import Scenes

NAMES = (
    ("an owl", "owls"),
    ("a fox", "foxes"),
    ("a polar bear", "polar bears"),
    ("a sheep", "sheep"),
    ("a mouse", "mice"),
)
TASK = Scenes(NAMES, side=2, cell=7)
LABELS = np.array([0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4], np.uint8)
# An image is of one value, which says its number and so its kind.
IMAGES = np.arange(1, 12, dtype=np.uint8)[:, None, None] * np.ones((1, 5, 3), np.uint8)


def drawn(task, seed, images, labels, **options):
    batch = jax.jit(functools.partial(task.batch, **options))
    return jax.tree.map(np.asarray, batch(jax.random.key(seed), images, labels))


@functools.cache
def scenes(seed, longest=False):
    return drawn(TASK, seed, IMAGES, LABELS, size=997, longest=longest)


def in_cells(pictures):
    """[batch, cell of the grid, height, width]"""
    cells = pictures.reshape(-1, 2, 7, 2, 7).swapaxes(2, 3)
    return cells.reshape(-1, 4, 7, 7)


def kinds_in(cells):
    return [int(LABELS[cell.max() - 1]) for cell in cells if cell.any()]


def test_descriptions_say_what_is_in_the_picture():
    found = scenes(0)
    for cells, words, counts in zip(
        in_cells(found.pictures), found.words.T, found.counts, strict=True
    ):
        kinds = kinds_in(cells)
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
def test_sentences_have_articles_plurals_commas_and_an_and(kinds, sentence):
    assert TASK.describe(kinds) == sentence


def test_a_thing_is_whole_and_within_its_cell():
    for cell in in_cells(scenes(0).pictures).reshape(-1, 7, 7):
        if cell.any():
            rows, columns = np.nonzero(cell)
            assert np.ptp(rows) + 1 == 5
            assert np.ptp(columns) + 1 == 3
            assert len(np.unique(cell[cell > 0])) == 1
            assert (cell > 0).sum() == 15


def test_places_moves_numbers_kinds_and_images_are_drawn_evenly():
    found = scenes(0)
    cells = in_cells(found.pictures)
    there = cells.any((2, 3))
    things = there.sum(1)
    images = cells.max((2, 3))[there]
    rows = cells.any(3).argmax(2)[there]
    columns = cells.any(2).argmax(2)[there]
    kinds = LABELS[images - 1]
    of_two = images[kinds == 2]  # of three images
    for values, possible in [
        (things, range(1, 5)),
        (np.nonzero(there)[1], range(4)),
        (rows, range(3)),
        (columns, range(5)),
        (kinds, range(5)),
        (of_two, (5, 6, 7)),
    ]:
        share = np.array([(values == value).mean() for value in possible])
        even = 1 / len(share)
        assert share.sum() == pytest.approx(1)
        assert np.abs(share - even).max() < 5 * np.sqrt(even * (1 - even) / len(values))


def test_the_longest_descriptions_are_apart():
    length = (scenes(0).words > 0).sum(0)
    assert (scenes(0).counts.max(1) > 1)[scenes(0).counts.sum(1) == 4].all()
    apart = scenes(1, longest=True)
    assert (apart.counts.sum(1) == 4).all()
    assert (apart.counts.max(1) == 1).all()
    assert ((apart.words > 0).sum(0) > length.max()).all()
    assert TASK.length == (apart.words > 0).sum(0).max() + 1 == len(apart.words)


def test_a_key_says_all():
    again = drawn(TASK, 0, IMAGES, LABELS, size=997)
    for one, other in zip(scenes(0), again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (scenes(0).pictures != scenes(2).pictures).any()


def test_pictures_have_the_images_dtype():
    assert scenes(0).pictures.dtype == np.uint8


@pytest.mark.parametrize("side", [1, 3])
def test_grids_of_other_sizes(side):
    names = tuple((f"a n{kind}", f"n{kind}s") for kind in range(11))
    task = Scenes(names, side=side, cell=5)
    labels = np.arange(11)
    images = (labels + 1)[:, None, None] * np.ones((1, 5, 5), np.int32)
    found = drawn(task, 0, images, labels, size=97)
    assert found.pictures.shape == (97, 5 * side, 5 * side)
    for picture, words in zip(found.pictures, found.words.T, strict=True):
        cells = picture[::5, ::5].ravel()
        assert task.sentence(words) == task.describe(cells[cells > 0] - 1)


def test_what_does_not_fit_is_refused():
    match = r"Expected(.|\n)*What to do"
    for names, side, cell in [(NAMES, 0, 7), (NAMES, 4, 7), (NAMES, 3, 7), (NAMES, 2, 0)]:
        with pytest.raises(ValueError, match=match):
            Scenes(names, side, cell)
    for images, labels in [
        (IMAGES, LABELS[1:]),
        (IMAGES, LABELS[::-1]),
        (IMAGES[0], LABELS),
        (np.ones((11, 8, 3)), LABELS),
    ]:
        with pytest.raises(ValueError, match=match):
            TASK.batch(jax.random.key(0), images, labels, size=3)
