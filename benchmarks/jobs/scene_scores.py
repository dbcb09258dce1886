"""How often a description is right, and what that is to be compared with."""

import functools
import importlib.util
import statistics
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import seqmem
from seqmem.tasks.scenes import END

from ..common.machine import IDLE_CORES
from ..common.records import markdown_table
from .scene_images import Problem
from .scene_models import Describer, Encoder
from .scene_pictures import Told

AT_ONCE = 250  # pictures


class Described(NamedTuple):
    """Scenes of test images: the pictures, how many things, what is right and what is said."""

    pictures: np.ndarray
    things: np.ndarray
    right: list[str]
    said: list[str]
    words: np.ndarray  # what is said, as ids: [scene, time]

    @property
    def exact(self) -> np.ndarray:
        return np.array([a == b for a, b in zip(self.right, self.said, strict=True)])


@jax.jit
def named(encoder: Encoder, images: jax.Array) -> jax.Array:
    """The kind of each single image."""
    return jax.vmap(encoder.name)(images).argmax(-1)


@functools.partial(jax.jit, static_argnames="length")
def told(model: Describer, pictures: jax.Array, *, length: int) -> jax.Array:
    """The words of each picture, [picture, length]: each the likeliest after those before it."""

    def of_one(picture: jax.Array) -> jax.Array:
        cell, state = model.over(model.places(picture))
        step = eqx.Partial(model.step, cell)
        return seqmem.decoding.greedy(step, state, begin=END, end=END, max_length=length).tokens

    return jax.vmap(of_one)(pictures)


def in_parts(function: Callable[[jax.Array], jax.Array], pictures: np.ndarray) -> np.ndarray:
    """A function of some pictures, of many."""
    parts = range(0, len(pictures), AT_ONCE)
    return np.concatenate([np.asarray(function(pictures[i : i + AT_ONCE])) for i in parts])


def naming_accuracy(encoder: Encoder, given: Problem) -> float:
    """Of every test image, alone in the middle of a cell."""
    images, labels = given.test
    room = given.scenes.cell - images.shape[1]
    sides = (room // 2, room - room // 2)
    pictures = np.pad(images, ((0, 0), sides, sides))
    return float((in_parts(functools.partial(named, encoder), pictures) == labels).mean())


def described(
    model: Describer, given: Problem, key: Any, count: int, *, longest: bool = False
) -> Described:
    """So many scenes, and the model's descriptions of them."""
    task = given.scenes
    batch = jax.jit(functools.partial(task.batch, size=count, longest=longest))
    scene = jax.tree.map(np.asarray, batch(key, *given.test))
    words = in_parts(functools.partial(told, model, length=2 * task.length), scene.pictures)
    right, said = (list(map(task.sentence, ids)) for ids in (scene.words.T, words))
    return Described(scene.pictures, scene.counts.sum(1), right, said, words)


def bleu(found: Described) -> float | None:
    """Of all descriptions together; None without sacrebleu."""
    if importlib.util.find_spec("sacrebleu") is None:
        return None
    import sacrebleu

    return sacrebleu.corpus_bleu(found.said, [found.right]).score


def score(p: float, seen: Described, apart: Described) -> dict[str, Any]:
    """What is measured, with single images named rightly in `p`, on scenes as in training and on
    those with the longest descriptions.
    """
    most = int(apart.things.max())
    as_long = [
        len(a.split()) == len(b.split()) for a, b in zip(apart.right, apart.said, strict=True)
    ]
    rows = [
        {
            "things": things,
            "scenes": int((seen.things == things).sum()),
            "exact": float(seen.exact[seen.things == things].mean()),
            "expected": p**things,
        }
        for things in range(1, most + 1)
    ]
    return {
        "p": p,
        "rows": rows,
        "exact": statistics.fmean(row["exact"] for row in rows),
        "expected": statistics.fmean(row["expected"] for row in rows),
        "bleu": bleu(seen),
        "longest": {
            "scenes": len(apart.said),
            "exact": float(apart.exact.mean()),
            "expected": p**most,
            "as_long": statistics.fmean(as_long),
            "bleu": bleu(apart),
        },
    }


def some(model: Describer, given: Problem, seen: Described, apart: Described) -> list[Told]:
    """Scenes to show: one right of each number of things but one, one wrong, two of the longest."""
    most = given.scenes.most
    kinds = [(seen, seen.exact & (seen.things == things)) for things in range(2, most + 1)]
    kinds += [(seen, ~seen.exact & (seen.things > 1)), (apart, apart.exact), (apart, ~apart.exact)]
    shown = []
    for found, which in kinds:
        for i in np.nonzero(which)[0][:1]:
            ids = found.words[i][: 1 + int((found.words[i] != END).sum())]
            weights = np.asarray(model.attention(jnp.asarray(found.pictures[i]), jnp.asarray(ids)))
            words = [given.scenes.words[word] for word in ids if word != END]
            side = int(weights.shape[1] ** 0.5)
            weights = weights[: len(words)].reshape(-1, side, side)
            shown.append(Told(found.pictures[i], found.right[i], words, weights))
    return shown


def report(record: Mapping[str, Any]) -> str:
    """The record in Markdown."""
    longest = record["longest"]
    lines = [
        [str(row["things"]), str(row["scenes"]), *_shares(row["exact"], row["expected"])]
        for row in record["rows"]
    ]
    lines.append(["mean of these", "", *_shares(record["exact"], record["expected"])])
    line = ["all differ, never trained on", str(longest["scenes"])]
    lines.append([*line, *_shares(longest["exact"], longest["expected"])])
    busy = record["cores_taken"]
    idle = "Whether it was idle is unknown."
    if busy is not None:
        idle = (
            f"Others took {busy:.1f} cores{'.' if busy < IDLE_CORES else ': NOT AN IDLE MACHINE.'}"
        )
    scores = "BLEU was not computed: sacrebleu is not installed."
    if record["bleu"] is not None:
        scores = f"BLEU {record['bleu']:.1f}, and {longest['bleu']:.1f} where all differ."
    versions = ", ".join(f"{name} {value}" for name, value in record["versions"].items())
    steps = " and ".join(map(str, record["steps"]))
    return "\n\n".join(
        [
            f"`{record['command']}`",
            f"{record['machine']}, {record['date']}: {record['seconds']:.0f} s, of which training "
            f"{record['training_seconds']:.0f} s. {idle} Versions: {versions}.",
            f"{record['images']}, {record['trained_on']} of them trained on in {steps} steps of "
            f"{record['batch']}; seed {record['seed']}. A single test image is named rightly in "
            f"{record['p']:.1%}: p. Scenes of other test images, and how many are described word "
            "for word:",
            markdown_table(["things", "scenes", "exact", "p^n"], lines),
            f"{scores} Where all differ, {longest['as_long']:.1%} are as long as they should be.",
        ]
    )


def _shares(*values: float) -> list[str]:
    return [f"{value:.1%}" for value in values]
