"""Image captioning: "two sandals, a bag and a coat".

    python -m benchmarks.jobs.describe_image [--images FOLDER|digits] [--steps 18000 7000]
        [--seed 0] [--devices 2]

Scenes of one to four real images, and a model that describes them word by word: a convolutional
encoder, and a GRU that attends to its feature map (`scene_models.py`). The encoder is trained
first, on single images, and is fixed while the rest is trained on scenes. The test uses images that
training never has.

If the encoder names an image rightly with probability p, and nothing else goes wrong, n objects are
described exactly with probability p^n, a column of the table. Scenes of four different objects,
whose descriptions are the longest, are left out of training and tested separately.

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

from ..common.devices import devices_for, on_first_device
from ..common.machine import track_other_load
from ..common.options import positive_int, training_parser
from ..common.records import Row, provenance, write_csv, write_record
from .scene_figure import draw
from .scene_models import Describer, Encoder, describing_loss, naming_loss
from .scene_problem import Problem, load_problem
from .scene_report import report
from .scene_scores import describe_test_scenes, examples, naming_accuracy, score

PACKAGES = ("seqmem", "jax", "jaxlib", "equinox", "optax", "scikit-learn", "sacrebleu")
FEATURES, EMBEDDING = 128, 96  # of a position of the map, and of a word
LEARNING_RATE = 2e-3
ROW_EVERY = 50  # steps between two rows of the CSV


def parse_options() -> argparse.Namespace:
    parser = training_parser(__doc__)
    add = parser.add_argument
    add("--images", help="a folder of Fashion-MNIST's four IDX files, or digits")
    stages = ("NAMING", "DESCRIBING")
    add("--steps", nargs=2, type=positive_int, metavar=stages, help="default: as the images need")
    add("--batch", type=positive_int, default=64, help="images, or scenes, of one step")
    add("--tested", type=positive_int, default=5000, help="test scenes, and as many of the longest")
    add("--seed", type=int, default=0)
    return parser.parse_args()


def train_stage(
    model: Any,
    loss: Any,
    scenes: tasks.Scenes,
    problem: Problem,
    key: Any,
    steps: int,
    size: int,
    devices: training.DataParallel,
) -> tuple[Any, list[Row]]:
    """The model after Adam on random scenes of training images, and the metrics of each step."""
    images = jax.device_put(problem.train)

    @jax.jit
    def draw_batch(key: Any, images: Any) -> tasks.Scene:
        scene = scenes.batch(key, *images, size=size)
        if problem.is_mirrored:
            is_flipped = jax.random.bernoulli(jax.random.fold_in(key, 1), 0.5, (size, 1, 1))
            flipped = jax.numpy.where(is_flipped, scene.images[:, :, ::-1], scene.images)
            scene = scene._replace(images=flipped)
        return jax.tree.map(lambda leaf: leaf[None], scene)  # a batch is one step of time

    def batches(key: Any, position: int) -> tasks.Scene:
        scene = draw_batch(jax.random.fold_in(key, position), images)
        return devices.shard(scene, tasks.Scene(images=1, words=2, counts=1))

    rate = optax.cosine_onecycle_schedule(steps, LEARNING_RATE, 0.1)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    gradient = training.TruncatedBPTT(loss, window=1)
    state = training.begin_training(model, optimiser, ())
    state = devices.shard_training(state, gradient)
    step = training.make_step(gradient, optimiser)
    with tempfile.TemporaryDirectory() as folder:
        state, _ = experiment.train(step, state, batches, key=key, steps=steps, folder=folder)
        lines = pathlib.Path(folder, "training.jsonl").read_text().splitlines()
    return on_first_device(state.model), list(map(json.loads, lines))


def train(
    problem: Problem, options: argparse.Namespace, devices: training.DataParallel
) -> tuple[Describer, list[Row]]:
    """The trained model, and the rows of its training."""
    keys = jax.random.split(jax.random.key(options.seed), 4)
    kinds, rows = len(problem.scenes.names), []
    naming_steps, describing_steps = options.steps or problem.steps

    def train_and_record(stage: str, *args: Any) -> Any:
        model, metrics = train_stage(*args, options.batch, devices)
        rows.extend({"stage": stage, **row} for row in metrics if row["position"] % ROW_EVERY == 1)
        return model

    slot_size = problem.scenes.slot_size
    encoder = Encoder(problem.layers, slot_size, kinds, FEATURES, key=keys[0])
    encoder = train_and_record(
        "naming", encoder, naming_loss, problem.single_images, problem, keys[1], naming_steps
    )
    model = Describer(encoder, len(problem.scenes.words), EMBEDDING, key=keys[3])
    model = train_and_record(
        "telling", model, describing_loss, problem.scenes, problem, keys[2], describing_steps
    )
    return model, rows


def main() -> None:
    options, other_cores, start = parse_options(), track_other_load(), time.perf_counter()
    devices = devices_for(options.batch, options.devices)
    problem = load_problem(options.images)
    model, rows = train(problem, options, devices)
    training_seconds = time.perf_counter() - start
    test_key = jax.random.key(options.seed + 1)
    test = functools.partial(describe_test_scenes, model, problem, test_key, options.tested)
    usual, longest = test(), test(longest=True)
    record = provenance("benchmarks.jobs.describe_image", PACKAGES) | {
        "images": problem.name,
        "trained_on": len(problem.train.images),
        "steps": options.steps or problem.steps,
        "batch": options.batch,
        "seed": options.seed,
        "devices": devices.num_devices,
        **score(naming_accuracy(model.encoder, problem), usual, longest),
        "training_seconds": training_seconds,
        "seconds": time.perf_counter() - start,
        "cores_taken": other_cores(),
    }
    if options.images and options.images != "digits":  # that path is private
        record["command"] = record["command"].replace(options.images, "FOLDER")
    text = report(record)
    print(text)
    name = "describe_image" if problem.is_mirrored else "describe_image_digits"
    paths = write_record(options.out, name, record, text)
    paths += [paths[0].with_suffix(suffix) for suffix in (".csv", ".png")]
    write_csv(paths[-2], rows)
    draw(paths[-1], examples(model, problem, usual, longest), problem.scenes.slot_size)
    print("wrote", *paths, file=sys.stderr)


if __name__ == "__main__":
    main()
