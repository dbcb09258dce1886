"""Programs on meshes of eight devices, against one device, as JSON. `test_meshes.py` runs it.

JAX_NUM_CPU_DEVICES=8 python -m tests.methods.on_meshes
"""

import contextlib
import functools
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P

import seqmem
from seqmem import layers
from seqmem._core.precision import split_inexact
from tests.helpers.programs import communication

TIME, BATCH, INPUT, HIDDEN = 24, 8, 3, 6
KEY = jax.random.key(0)
CELLS = {
    "LSTM": lambda: seqmem.LSTM(INPUT, HIDDEN, key=KEY),
    "GRU": lambda: seqmem.GRU(INPUT, HIDDEN, key=KEY),
    "MGU": lambda: seqmem.MGU(INPUT, HIDDEN, key=KEY),
    "MinGRU": lambda: seqmem.MinGRU(INPUT, HIDDEN, key=KEY),
    "LRU": lambda: seqmem.LRU(INPUT, HIDDEN, key=KEY),
    "GatedDeltaRule": lambda: seqmem.GatedDeltaRule(INPUT, HIDDEN, num_heads=2, key=KEY),
    "MLSTM": lambda: seqmem.MLSTM(INPUT, HIDDEN, num_heads=2, key=KEY),
    "CausalConv": lambda: seqmem.CausalConv(INPUT, HIDDEN, width=3, key=KEY),
    "SlidingWindowAttention": lambda: seqmem.SlidingWindowAttention(
        INPUT, num_heads=1, window=4, positions=None, key=KEY
    ),
    "Stack": lambda: layers.Stack([CELLS["GRU"](), seqmem.MinGRU(HIDDEN, HIDDEN, key=KEY)]),
    "Bidirectional": lambda: layers.Bidirectional(CELLS["GRU"](), CELLS["MinGRU"]()),
}
# How the batch meets the devices, and the cells for which it is tried.
WAYS = {
    "Auto": ("LSTM", "MinGRU", "GatedDeltaRule", "Stack"),
    "Explicit": (
        *("LSTM", "MGU", "LRU", "MLSTM", "CausalConv", "SlidingWindowAttention"),
        *("Stack", "Bidirectional"),
    ),
    "Explicit, set_mesh": ("LSTM", "GatedDeltaRule"),
    "Explicit, vmap": ("LSTM", "MinGRU"),
    "Explicit, remat_every": ("GRU",),
    "shard_map": ("LSTM", "GatedDeltaRule", "Bidirectional"),
    "Explicit, shard_map": ("LSTM", "MinGRU"),
    "shard_map over one of two axes": ("LSTM", "GRU"),
    "split weights": ("LSTM", "GRU"),
    "Explicit, split weights": ("LSTM", "GRU"),
}
CELLS_OF_LOOPS = ("LSTM", "GRU", "MinGRU", "GatedDeltaRule")
COMMUNICATION = {
    "Auto": CELLS_OF_LOOPS,
    "shard_map": CELLS_OF_LOOPS,
    "split weights": ("LSTM", "GRU"),
}
BY_STEP, BY_EXAMPLE = P(None, "data"), P("data")


def sequences() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, lengths and resets."""
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(TIME, BATCH, INPUT))
    return xs, rng.integers(0, TIME + 1, BATCH), rng.random((TIME, BATCH)) < 0.2


def run(cell, xs, lengths, resets, **options):
    return seqmem.unroll(cell, None, xs, lengths=lengths, resets=resets, **options)


def everything(run, cell, xs, lengths, resets):
    """The results, and the gradients of parameters and inputs."""

    xs, others = split_inexact(xs)

    def loss(cell, xs):
        out = run(cell, eqx.combine(xs, others), lengths, resets)
        leaves = jax.tree.leaves(eqx.filter(out, eqx.is_inexact_array))
        return sum(jnp.sum(jnp.sin(jnp.abs(leaf))) for leaf in leaves), out

    return jax.grad(loss, (0, 1), has_aux=True)(cell, xs)


def mesh_of(way: str) -> Mesh:
    axis_type = AxisType.Explicit if "Explicit" in way else AxisType.Auto
    has_two_axes = "two axes" in way or "split" in way
    shape, names = ((4, 2), ("data", "model")) if has_two_axes else ((8,), ("data",))
    return jax.make_mesh(shape, names, axis_types=(axis_type,) * len(names))


def runs(way: str, mesh: Mesh):
    """`run` as the way has it."""
    if "vmap" in way:
        return jax.vmap(run, (None, 1, 0, 1), (0, 1))
    if "remat" in way:
        return functools.partial(run, remat_every=5)
    if "shard_map" in way:
        return jax.shard_map(
            run,
            mesh=mesh,
            in_specs=(P(), BY_STEP, BY_EXAMPLE, BY_STEP),
            out_specs=(BY_EXAMPLE, BY_STEP),
            axis_names={"data"},
        )
    return run


def place(mesh: Mesh, *args):
    specs = (P(), BY_STEP, BY_EXAMPLE, BY_STEP)
    cell, *others = (
        jax.device_put(tree, NamedSharding(mesh, spec))
        for tree, spec in zip(args, specs, strict=True)
    )
    if "model" in mesh.axis_names:  # matrices and biases are [gate, hidden, ...] or [hidden]
        by_unit = lambda leaf: P("model") if leaf.ndim == 1 else P(None, "model")  # noqa: E731
        shardings = jax.tree.map(lambda leaf: NamedSharding(mesh, by_unit(leaf)), cell)
        cell = jax.device_put(cell, shardings)
    return cell, *others


@functools.cache
def on_one_device(name: str):
    return jax.jit(functools.partial(everything, run))(in_float64(name), *sequences())


def in_float64(name: str):
    return seqmem.as_precision(CELLS[name](), jnp.dtype(jnp.float64))


def largest_difference(name: str, way: str) -> float:
    """Between eight devices and one, over values and gradients."""
    mesh, args = mesh_of(way), (in_float64(name), *sequences())
    with jax.set_mesh(mesh) if "set_mesh" in way else contextlib.nullcontext():
        got = jax.jit(functools.partial(everything, runs(way, mesh)))(*place(mesh, *args))
    differences = jax.tree.map(
        lambda a, b: np.abs(np.asarray(a) - np.asarray(b)).max(), got, on_one_device(name)
    )
    return float(max(jax.tree.leaves(differences)))


def communication_of(name: str, way: str) -> dict:
    """Of the forward pass and of the gradient of the parameters, in float32 and optimised."""
    cell, mesh = CELLS[name](), mesh_of(way)
    method = seqmem.Parallel(chunk_size=8) if name == "GatedDeltaRule" else seqmem.Scan(tile=8)
    unroll = functools.partial(run, method=method)
    if way == "shard_map":
        unroll = jax.shard_map(
            unroll,
            mesh=mesh,
            in_specs=(P(), BY_STEP, BY_EXAMPLE, BY_STEP),
            out_specs=(BY_EXAMPLE, BY_STEP),
        )

    def gradient(cell, *args):
        return jax.grad(lambda cell: (unroll(cell, *args)[1] ** 2).sum())(cell)

    xs, *others = sequences()
    args = place(mesh, cell, xs.astype(np.float32), *others)
    programs = {"forward": unroll, "gradient": gradient}
    texts = {key: jax.jit(fn).lower(*args).compile().as_text() for key, fn in programs.items()}
    return {key: communication(text)._asdict() for key, text in texts.items()}


def main() -> None:
    with jax.enable_x64(True):
        differences = {
            f"{name}, {way}": largest_difference(name, way)
            for way, names in WAYS.items()
            for name in names
        }
    jax.config.update("jax_disable_most_optimizations", False)
    programs = {
        f"{name}, {way}": communication_of(name, way)
        for way, names in COMMUNICATION.items()
        for name in names
    }
    print(json.dumps({"differences": differences, "communication": programs}))


if __name__ == "__main__":
    main()
