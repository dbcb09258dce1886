"""The scores of `describe_image`: how many descriptions are right."""

import functools
import importlib.util
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import seqmem
from seqmem.tasks import Scenes

from .scene_figure import DescribedImage
from .scene_models import Describer, Encoder
from .scene_problem import Problem

BATCH = 250  # images


class Descriptions(NamedTuple):
    """Scenes of test images: images, numbers of objects, right and predicted descriptions, and the
    predicted words as ids, [scene, time].
    """

    images: np.ndarray
    objects: np.ndarray
    expected: list[str]
    predicted: list[str]
    words: np.ndarray

    @property
    def is_exact(self) -> np.ndarray:
        return np.array([a == b for a, b in zip(self.expected, self.predicted, strict=True)])


@jax.jit
def classify(encoder: Encoder, images: jax.Array) -> jax.Array:
    """The most likely kind of each single image."""
    return jax.vmap(encoder.name)(images).argmax(-1)


@functools.partial(jax.jit, static_argnames="length")
def describe(model: Describer, images: jax.Array, *, length: int) -> jax.Array:
    """The words of each image by greedy decoding, [image, length]."""

    def describe_one(image: jax.Array) -> jax.Array:
        cell, state = model.attend_to(model.positions(image))
        step = eqx.Partial(model.step, cell)
        return seqmem.decoding.greedy(
            step, state, begin=Scenes.END, end=Scenes.END, max_length=length
        ).tokens

    return jax.vmap(describe_one)(images)


def in_batches(function: Callable[[jax.Array], jax.Array], images: np.ndarray) -> np.ndarray:
    """`function(images)`, computed in batches."""
    starts = range(0, len(images), BATCH)
    return np.concatenate([np.asarray(function(images[i : i + BATCH])) for i in starts])


def naming_accuracy(encoder: Encoder, problem: Problem) -> float:
    """The accuracy on single test images, each in the middle of a slot."""
    images, labels = problem.test
    padding = problem.scenes.slot_size - images.shape[1]
    sides = (padding // 2, padding - padding // 2)
    images = np.pad(images, ((0, 0), sides, sides))
    return float((in_batches(functools.partial(classify, encoder), images) == labels).mean())


def describe_test_scenes(
    model: Describer, problem: Problem, key: Any, count: int, *, longest: bool = False
) -> Descriptions:
    """Random scenes of test images, and the model's descriptions of them."""
    task = problem.scenes
    batch = jax.jit(functools.partial(task.batch, size=count, longest=longest))
    scene = jax.tree.map(np.asarray, batch(key, *problem.test))
    words = in_batches(functools.partial(describe, model, length=2 * task.length), scene.images)
    expected, predicted = (list(map(task.sentence, ids)) for ids in (scene.words.T, words))
    return Descriptions(scene.images, scene.counts.sum(1), expected, predicted, words)


def bleu(descriptions: Descriptions) -> float | None:
    """BLEU of all descriptions, or None without sacrebleu."""
    if importlib.util.find_spec("sacrebleu") is None:
        return None
    import sacrebleu

    return sacrebleu.corpus_bleu(descriptions.predicted, [descriptions.expected]).score


def score(p: float, usual: Descriptions, longest: Descriptions) -> dict[str, Any]:
    """The scores of the record.

    Args:
        p: the accuracy on single images.
        usual: scenes as in training.
        longest: scenes with the longest descriptions, which training never has.
    """
    most = int(longest.objects.max())
    has_right_length = [
        len(a.split()) == len(b.split())
        for a, b in zip(longest.expected, longest.predicted, strict=True)
    ]
    rows = [
        {
            "things": objects,
            "scenes": int((usual.objects == objects).sum()),
            "exact": float(usual.is_exact[usual.objects == objects].mean()),
            "expected": p**objects,
        }
        for objects in range(1, most + 1)
    ]
    return {
        "p": p,
        "rows": rows,
        "exact": statistics.fmean(row["exact"] for row in rows),
        "expected": statistics.fmean(row["expected"] for row in rows),
        "bleu": bleu(usual),
        "longest": {
            "scenes": len(longest.predicted),
            "exact": float(longest.is_exact.mean()),
            "expected": p**most,
            "as_long": statistics.fmean(has_right_length),
            "bleu": bleu(longest),
        },
    }


def examples(
    model: Describer, problem: Problem, usual: Descriptions, longest: Descriptions
) -> list[DescribedImage]:
    """Scenes for the figure: one that is right for each number of objects above 1, one that is
    wrong, and one of either among the longest.
    """
    most = problem.scenes.max_objects
    groups = [
        (usual, usual.is_exact & (usual.objects == objects)) for objects in range(2, most + 1)
    ]
    groups.append((usual, ~usual.is_exact & (usual.objects > 1)))
    groups += [(longest, longest.is_exact), (longest, ~longest.is_exact)]
    chosen = []
    for descriptions, mask in groups:
        for i in np.nonzero(mask)[0][:1]:
            ids = descriptions.words[i]
            ids = ids[: 1 + int((ids != Scenes.END).sum())]
            image = descriptions.images[i]
            weights = np.asarray(model.attention(jnp.asarray(image), jnp.asarray(ids)))
            words = [problem.scenes.words[word] for word in ids if word != Scenes.END]
            side = int(weights.shape[1] ** 0.5)
            weights = weights[: len(words)].reshape(-1, side, side)
            chosen.append(DescribedImage(image, descriptions.expected[i], words, weights))
    return chosen
