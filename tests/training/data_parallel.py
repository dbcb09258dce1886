"""A small character model: one script for one device, several devices and several processes.

    python -m tests.training.data_parallel FOLDER [--devices 8] [--steps 100]
                                           [--processes 2 --process 0 --port 4321]
                                           [--split 2] [--axes explicit]

It trains for 20 steps in float32, in FOLDER/float32, and for --steps steps in float64, in
FOLDER/float64. The devices are simulated on the CPU. The file end.npz holds the losses of the steps
of this call and the final parameters. A folder with checkpoints is resumed. With --split 2, the
recurrent matrices are split over two devices each, and the batch over half of them.
"""

import argparse
import os
import pathlib
import re

ARGS = argparse.ArgumentParser()
ARGS.add_argument("folder", type=pathlib.Path)
COUNTS = {"devices": 1, "processes": 1, "process": 0, "port": 0, "steps": 100, "split": 1}
for name, value in COUNTS.items():
    ARGS.add_argument(f"--{name}", type=int, default=value)
ARGS.add_argument("--axes", choices=("auto", "explicit"), default="auto")

if __name__ == "__main__":
    ARGS = ARGS.parse_args()
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={ARGS.devices}"

import equinox as eqx  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
from jax.sharding import AxisType, NamedSharding, PartitionSpec  # noqa: E402

import seqmem  # noqa: E402
from seqmem import data, experiment, models, training  # noqa: E402

TIME, BATCH, HIDDEN = 11, 16, 14
OPTIMISER = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2))


def make_devices(args: argparse.Namespace) -> training.DataParallel:
    if args.split == 1:
        return training.DataParallel()
    shape = (args.devices // args.split, args.split)
    axis_types = (AxisType[args.axes.capitalize()],) * 2
    return training.DataParallel(jax.make_mesh(shape, ("data", "model"), axis_types=axis_types))


def run(args: argparse.Namespace, folder: pathlib.Path, steps: int) -> None:
    """Train, check the compiled program and the placement, and write end.npz."""
    devices = make_devices(args)
    assert devices.num_devices == args.devices * args.processes

    text = data.read_text()[:20_000]
    vocabulary = data.Vocabulary.from_text(text)
    inputs, targets = data.segment_text(vocabulary.encode(text), time=TIME, batch=BATCH)
    keys = jax.random.split(jax.random.key(0), 3)
    cell = seqmem.LSTM(len(vocabulary), HIDDEN, key=keys[0])
    model = models.LanguageModel(cell, len(vocabulary), bias=True, key=keys[1])
    model = jax.tree.map(lambda leaf: leaf.astype(jnp.result_type(float)), model)
    if args.split > 1:
        split = NamedSharding(devices.mesh, PartitionSpec(None, "model"))  # [gate, hidden, ...]
        model = eqx.tree_at(lambda m: m.body, model, jax.device_put(model.body, split))

    def batch_at(key, position):
        return devices.shard((inputs[position], targets[position]))

    losses = []
    gradient = training.MicroBatched(training.TruncatedBPTT(models.next_token_loss, window=TIME), 2)
    carry = gradient.init_carry(model.init_state(BATCH), (inputs[0], targets[0]))
    state = training.begin_training(model, OPTIMISER, carry)
    state, progress = experiment.train(
        training.make_step(gradient, OPTIMISER),
        devices.shard_training(state, gradient),
        batch_at,
        key=keys[2],
        steps=steps,
        folder=folder,
        checkpoints=experiment.Checkpoints(folder / "checkpoints", every=50),
        on_step=lambda position, metrics: losses.append(metrics["loss"]),
        progress_bar=False,
    )
    assert progress.position == steps
    program = jax.jit(lambda *args: gradient(*args)[:4])
    program = program.lower(state.model, state.carry, batch_at(None, 0)).compile().as_text()
    if args.split == 1:
        assert not re.search("all-gather|all-to-all|collective-permute", program)
    else:
        assert len(state.model.body.U.sharding.device_set) == args.devices
        assert state.model.body.U.addressable_shards[0].data.shape[1] == HIDDEN // args.split
    assert ("all-reduce" in program) == (devices.num_devices > 1)
    device_counts = {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(state)}
    assert device_counts == {devices.num_devices}
    if args.process == 0:
        leaves = jax.tree.leaves(state.model)
        params = {f"{i:02d}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
        np.savez(folder / "end.npz", losses=np.array(losses), **params)


def main(args: argparse.Namespace) -> None:
    jax.config.update("jax_disable_most_optimizations", True)
    if args.processes > 1:
        jax.distributed.initialize(f"127.0.0.1:{args.port}", args.processes, args.process)
    with jax.set_mesh(make_devices(args).mesh):
        run(args, args.folder / "float32", 20)
        with jax.enable_x64(True):
            run(args, args.folder / "float64", args.steps)
    if args.processes > 1:
        jax.distributed.shutdown()


if __name__ == "__main__":
    main(ARGS)
