"""Time sharded over devices gives the numbers of one device."""

import functools
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, PartitionSpec as P

import seqmem

DEVICES = 8
TIME, BATCH, INPUT, HIDDEN = 24, 2, 3, 5
# No complex cell with Scan inside: XLA:CPU aborts the process when it compiles it for 8 devices.
CASES = [
    ("LRU", "plain"),
    ("LRU", "all"),
    ("MinGRU", "all"),
    ("MinGRU", "scan"),
    ("KDA", "all"),
    ("MLSTM", "all"),
]
CELLS = {
    "LRU": lambda key: seqmem.LRU(INPUT, HIDDEN, key=key),
    "MinGRU": lambda key: seqmem.MinGRU(INPUT, HIDDEN, key=key),
    "KDA": lambda key: seqmem.KDA(INPUT, 6, 2, key=key),
    "MLSTM": lambda key: seqmem.MLSTM(INPUT, 6, 2, key=key),
}


def sequences(case):
    rng = np.random.default_rng(7)
    options = {}
    if case in ("lengths", "all"):
        options["lengths"] = np.array([17, 0])
    if case in ("resets", "all"):
        options["resets"] = rng.random((TIME, BATCH)) < 0.2
    return jnp.asarray(rng.normal(size=(TIME, BATCH, INPUT))), options


def everything(run, cell, state, xs, options):
    """State, outputs, and the gradients of all three."""

    def loss(cell, state, xs):
        final, ys = run(cell, state, xs, options)
        value = sum(jnp.sum(jnp.sin(jnp.abs(leaf))) for leaf in jax.tree.leaves((final, ys)))
        return value, (final, ys)

    (_, out), grads = jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(cell, state, xs)
    return out, grads


def furthest(name, case):
    """The largest difference between eight devices and one, over all of it."""
    mesh = jax.make_mesh((2, 4), ("data", "time"), axis_types=(AxisType.Auto,) * 2)
    cell = CELLS[name](jax.random.key(0))
    cell = jax.tree.map(lambda a: a.astype(np.result_type(a.dtype, np.float64)), cell)
    cell = seqmem.with_learned_state(cell, jax.tree.map(lambda a: a + 0.3, cell.init_state()))
    xs, options = sequences(case)
    state = jax.tree.map(lambda a: jnp.stack([a, 0.5 * a]), cell.init_state())
    reverse = case in ("reverse", "all")
    inner = seqmem.Scan() if case == "scan" else seqmem.Parallel(chunk_size=2)
    method = seqmem.Sharded("time", inner)

    def one(cell, state, xs, options):
        return seqmem.unroll(cell, state, xs, reverse=reverse, **options)

    def many(cell, state, xs, options):
        places = {"lengths": P("data"), "resets": P("time", "data")}
        spread = jax.shard_map(
            lambda cell, state, xs, options: seqmem.unroll(
                cell, state, xs, reverse=reverse, method=method, **options
            ),
            mesh=mesh,
            in_specs=(P(), P("data"), P("time", "data"), {key: places[key] for key in options}),
            out_specs=(P("data"), P("time", "data")),
        )
        return spread(cell, state, xs, options)

    here, there = (
        jax.jit(functools.partial(everything, run))(cell, state, xs, options) for run in (one, many)
    )
    apart = jax.tree.map(
        lambda a, b: float(np.abs(np.asarray(a) - np.asarray(b)).max()), here, there
    )
    return max(jax.tree.leaves(apart))


@pytest.fixture(scope="module")
def differences():
    """From a process that has eight devices, which JAX wants to know before it starts."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={DEVICES}"
    run = subprocess.run(
        [sys.executable, __file__],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "case"), CASES)
def test_eight_devices_give_the_values_and_gradients_of_one(differences, name, case):
    assert differences[f"{name} {case}"] < 1e-10


@pytest.mark.parametrize(
    "ask",
    [
        lambda cell, run: run(seqmem.GRU(3, 5, key=jax.random.key(0))),
        lambda cell, run: run(cell, remat_every=2),
        lambda cell, run: seqmem.Sharded("time", seqmem.Sharded("data")),
        lambda cell, run: seqmem.Sharded(
            "time", seqmem.Scan(transform=seqmem.gradients.ClipNorm(1.0))
        ),
    ],
)
def test_what_cannot_be_sharded_is_refused(ask):
    mesh = Mesh(np.array(jax.devices()[:1]), ("time",))

    def run(cell, **options):
        jax.shard_map(
            lambda xs: seqmem.unroll(
                cell, cell.init_state(), xs, method=seqmem.Sharded("time"), **options
            ),
            mesh=mesh,
            in_specs=P("time"),
            out_specs=(P(), P("time")),
        )(jnp.ones((8, 3)))

    with pytest.raises(ValueError, match=r"(?s)Expected: .*What to do: "):
        ask(seqmem.MinGRU(3, 5, key=jax.random.key(0)), run)


if __name__ == "__main__":
    print(json.dumps({f"{name} {case}": furthest(name, case) for name, case in CASES}))
