"""A small character job that is the same script on one device, on several, and in several
processes.

    python -m tests.training.data_parallel FOLDER [--devices 8] [--processes 2 --process 0 --port 4321]
                                         [--steps 100]

It trains for 20 steps in float32 and for so many in float64, in FOLDER/narrow and FOLDER/wide.
Devices are simulated ones of the CPU. The losses of the steps made here, and the parameters at the
end, are written to end.npz; with checkpoints in a folder, its run goes on from them.
"""

import argparse
import os
import pathlib
import re

ARGS = argparse.ArgumentParser()
ARGS.add_argument("folder", type=pathlib.Path)
for name, value in {"devices": 1, "processes": 1, "process": 0, "port": 0, "steps": 100}.items():
    ARGS.add_argument(f"--{name}", type=int, default=value)

if __name__ == "__main__":
    ARGS = ARGS.parse_args()
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={ARGS.devices}"

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402

import seqmem  # noqa: E402
from seqmem import data, experiment, models, training  # noqa: E402

TIME, BATCH, WIDTH = 11, 16, 13
OPTIMISER = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2))


def loss(model, state, batch, **options):
    inputs, targets = batch
    state, logits = model(state, inputs, **options)
    losses = models.character_losses(logits, targets)
    return losses.sum(), losses.size, state


def run(args: argparse.Namespace, folder: pathlib.Path, steps: int) -> None:
    everywhere = training.DataParallel()
    assert everywhere.count == args.devices * args.processes

    text = data.read_text()[:20_000]
    vocabulary = data.Vocabulary.from_text(text)
    inputs, targets = data.segment_text(vocabulary.encode(text), time=TIME, batch=BATCH)
    keys = jax.random.split(jax.random.key(0), 3)
    cell = seqmem.LSTM(len(vocabulary), WIDTH, key=keys[0])
    model = models.CharacterModel(cell, len(vocabulary), key=keys[1])
    model = jax.tree.map(lambda leaf: leaf.astype(jnp.result_type(float)), model)

    def batches(key, position):
        return everywhere.spread((inputs[position], targets[position]))

    losses = []
    gradient = training.MicroBatched(training.TruncatedBPTT(loss, window=TIME), 2)
    carry = gradient.begin(model.init_state(BATCH), (inputs[0], targets[0]))
    state = training.begin_training(model, OPTIMISER, carry)
    state, progress = experiment.train(
        training.make_step(gradient, OPTIMISER),
        everywhere.spread_training(state, gradient),
        batches,
        key=keys[2],
        steps=steps,
        folder=folder,
        checkpoints=experiment.Checkpoints(folder / "checkpoints"),
        checkpoint_every=50,
        watch=lambda position, row: losses.append(row["loss"]),
        bar=False,
    )
    assert progress.position == steps
    program = jax.jit(lambda *given: gradient(*given)[:4])
    program = program.lower(state.model, state.carry, batches(None, 0)).compile().as_text()
    assert not re.search("all-gather|all-to-all|collective-permute", program)
    assert ("all-reduce" in program) == (everywhere.count > 1)
    assert {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(state)} == {everywhere.count}
    if args.process == 0:
        ends = {f"{i:02d}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state.model))}
        np.savez(folder / "end.npz", losses=np.array(losses), **ends)


def main(args: argparse.Namespace) -> None:
    jax.config.update("jax_disable_most_optimizations", True)
    if args.processes > 1:
        jax.distributed.initialize(f"127.0.0.1:{args.port}", args.processes, args.process)
    run(args, args.folder / "narrow", 20)
    with jax.enable_x64(True):
        run(args, args.folder / "wide", args.steps)
    if args.processes > 1:
        jax.distributed.shutdown()


if __name__ == "__main__":
    main(ARGS)
