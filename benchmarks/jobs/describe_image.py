"""From a picture to its description: "two sandals, a bag and a coat".

    python -m benchmarks.jobs.describe_image [--images FOLDER|digits] [--steps 18000 7000]
        [--seed 0]

Scenes of one to four real images, and a model that tells what is in them, word by word: an encoder
of convolutions, and a GRU that attends to its map (`_scene_models.py`). The encoder is trained
first, to name single images, and stays as it is while the rest is trained on scenes. All is tested
on images that were not trained on.

If the encoder names an image rightly with probability p, and nothing else goes wrong, n things are
described exactly with probability p^n: this stands beside what was measured. Scenes of four things
that all differ, whose descriptions are the longest, are never trained on, and are tested apart.

The images are Fashion-MNIST's, from a folder of its IDX files or where Debian's package
dataset-fashion-mnist puts them; else, and with `--images digits`, scikit-learn's written digits.
"""

import argparse
import functools
import json
import pathlib
import sys
import tempfile
import time
from typing import Any

import jax
import optax

from seqmem import experiment, tasks, training

from ..common.machine import track_other_load
from ..common.options import positive_int
from ..common.records import Row, provenance, write_csv, write_record
from .scene_images import Problem, problem
from .scene_models import Describer, Encoder, naming_loss, telling_loss
from .scene_pictures import draw
from .scene_scores import described, naming_accuracy, report, score, some

PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "optax", "scikit-learn", "sacrebleu")
FEATURES, WORD = 128, 96  # entries of a place of the map, and of a word's vector
RATE = 2e-3
EVERY = 50  # steps between two rows that are kept


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--images", help="a folder of Fashion-MNIST's four IDX files, or digits")
    add(
        "--steps",
        nargs=2,
        type=positive_int,
        metavar=("NAMING", "TELLING"),
        help="else the images' own",
    )
    add("--batch", type=positive_int, default=64, help="images, or scenes, of one step")
    add("--tested", type=positive_int, default=5000, help="scenes of the test, and as many apart")
    add("--seed", type=int, default=0)
    add("--out", default="benchmarks/results", help="folder for the results")
    return parser.parse_args()


def learn(
    model: Any, loss: Any, scenes: tasks.Scenes, given: Problem, key: Any, steps: int, size: int
) -> tuple[Any, list[Row]]:
    """The model after Adam on fresh scenes of training images, and what each step told."""
    images = jax.device_put(given.train)

    @jax.jit
    def drawn(key: Any, images: Any) -> tasks.Scene:
        scene = scenes.batch(key, *images, size=size)
        if given.mirrored:
            mirrored = jax.random.bernoulli(jax.random.fold_in(key, 1), 0.5, (size, 1, 1))
            pictures = jax.numpy.where(mirrored, scene.pictures[:, :, ::-1], scene.pictures)
            scene = scene._replace(pictures=pictures)
        return jax.tree.map(lambda leaf: leaf[None], scene)  # a batch is one step of time

    def batches(key: Any, position: int) -> tasks.Scene:
        return drawn(jax.random.fold_in(key, position), images)

    rate = optax.cosine_onecycle_schedule(steps, RATE, 0.1)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    state = training.begin_training(model, optimiser, ())
    step = training.make_step(training.TruncatedBPTT(loss, window=1), optimiser)
    with tempfile.TemporaryDirectory() as folder:
        state, _ = experiment.train(step, state, batches, key=key, steps=steps, folder=folder)
        lines = pathlib.Path(folder, "training.jsonl").read_text().splitlines()
    return state.model, list(map(json.loads, lines))


def trained(given: Problem, chosen: argparse.Namespace) -> tuple[Describer, list[Row]]:
    """The model, and the rows of its training."""
    keys = jax.random.split(jax.random.key(chosen.seed), 4)
    kinds, rows = len(given.scenes.names), []
    model = Encoder(given.layers, given.scenes.cell, kinds, FEATURES, key=keys[0])
    steps = dict(zip(("naming", "telling"), chosen.steps or given.steps, strict=True))
    for stage, loss, scenes, key in (
        ("naming", naming_loss, given.single, keys[1]),
        ("telling", telling_loss, given.scenes, keys[2]),
    ):
        if stage == "telling":
            model = Describer(model, len(given.scenes.words), WORD, key=keys[3])
        model, own = learn(model, loss, scenes, given, key, steps[stage], chosen.batch)
        rows += [{"stage": stage, **row} for row in own if row["position"] % EVERY == 1]
    return model, rows


def main() -> None:
    chosen, taken, start = options(), track_other_load(), time.perf_counter()
    given = problem(chosen.images)
    model, rows = trained(given, chosen)
    seconds = time.perf_counter() - start
    tested = functools.partial(
        described, model, given, jax.random.key(chosen.seed + 1), chosen.tested
    )
    seen, apart = tested(), tested(longest=True)
    record = provenance("benchmarks.jobs.describe_image", PACKAGES) | {
        "images": given.name,
        "trained_on": len(given.train.images),
        "steps": chosen.steps or given.steps,
        "batch": chosen.batch,
        "seed": chosen.seed,
        **score(naming_accuracy(model.encoder, given), seen, apart),
        "training_seconds": seconds,
        "seconds": time.perf_counter() - start,
        "cores_taken": taken(),
    }
    if chosen.images and chosen.images != "digits":  # that path is private
        record["command"] = record["command"].replace(chosen.images, "FOLDER")
    text = report(record)
    print(text)
    name = "describe_image" if given.mirrored else "describe_image_digits"
    written = write_record(chosen.out, name, record, text)
    stem = written[0].with_suffix("")
    write_csv(stem.with_suffix(".csv"), rows)
    draw(stem.with_suffix(".png"), some(model, given, seen, apart), given.scenes.cell)
    print("wrote", *written, stem.with_suffix(".csv"), stem.with_suffix(".png"), file=sys.stderr)


if __name__ == "__main__":
    main()
