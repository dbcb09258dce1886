"""Time sharded over devices gives the numbers of one device.

`jax.vmap` with an axis name runs the collectives of `Sharded` without devices: the quick tests. The
slow ones run it in a process with eight CPU devices.
"""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P

import seqmem
from tests.helpers.devices import run_on_devices
from tests.helpers.slow import slow

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
    ("DLinOSS", "all"),
    ("MinGRU", "all, explicit axes"),
    ("KDA", "all, explicit axes"),
    ("MinGRU", "all, data axis of XLA"),
    ("MLSTM", "all, as for a GPU"),
    ("KDA", "all, explicit axes, as for a GPU"),
]
CELLS = {
    "LRU": lambda key: seqmem.LRU(INPUT, HIDDEN, key=key),
    "MinGRU": lambda key: seqmem.MinGRU(INPUT, HIDDEN, key=key),
    "DLinOSS": lambda key: seqmem.DLinOSS(INPUT, HIDDEN, key=key),
    "KDA": lambda key: seqmem.KDA(INPUT, 6, num_heads=2, key=key),
    "MLSTM": lambda key: seqmem.MLSTM(INPUT, 6, num_heads=2, key=key),
    "ABC": lambda key: seqmem.ABC(INPUT, 6, num_heads=2, num_slots=5, key=key),
}


def make_cell(name):
    """A cell in float64 with an initial state that is not 0, and two states to start from."""
    cell = CELLS[name](jax.random.key(0))
    cell = jax.tree.map(lambda a: a.astype(np.result_type(a.dtype, np.float64)), cell)
    cell = seqmem.with_learned_state(cell, jax.tree.map(lambda a: a + 0.3, cell.init_state()))
    return cell, jax.tree.map(lambda a: jnp.stack([a, 0.5 * a]), cell.init_state())


def unroll_in_shares(cell, state, xs, options, *, method, reverse):
    """`seqmem.unroll` with time in 4 shares, one for each entry of a mapped axis."""
    shares = 4

    def split_time(tree):
        return jax.tree.map(lambda a: a.reshape(shares, -1, *a.shape[1:]), tree)

    def run(share):
        xs, resets = share
        lengths = options.get("lengths")
        return seqmem.unroll(
            cell, state, xs, lengths=lengths, resets=resets, method=method, reverse=reverse
        )

    final, ys = jax.vmap(run, axis_name="time")(split_time((xs, options.get("resets"))))
    return jax.tree.map(lambda a: a[0], final), ys.reshape(-1, *ys.shape[2:])


def permute_by_gathering(x, axis_name, perm):
    """`jax.lax.ppermute`, which `jax.vmap` only has for permutations of all shares."""
    sources = dict((target, source) for source, target in perm)
    size = jax.lax.axis_size(axis_name)
    source = jnp.array([sources.get(place, -1) for place in range(size)])
    source = source[jax.lax.axis_index(axis_name)]
    received = jax.lax.all_gather(x, axis_name)[source]
    return jnp.where(source < 0, jnp.zeros_like(received), received)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("reverse", [slow(False), True])
@pytest.mark.parametrize("name", ["MinGRU", slow("KDA"), slow("DLinOSS"), slow("ABC")])
def test_sharded_values_and_gradients_match_one_device(name, reverse, monkeypatch):
    monkeypatch.setattr(jax.lax, "ppermute", permute_by_gathering)
    cell, state = make_cell(name)
    xs, options = sequences("all")
    inner = seqmem.Scan() if name == "MinGRU" else seqmem.Parallel(chunk_size=2)
    method = seqmem.Sharded("time", inner)
    if isinstance(cell, seqmem.AbstractContainer):
        method = seqmem.layers.LayerByLayer(method)
    runs = (
        functools.partial(unroll_on_one_device, reverse=reverse),
        functools.partial(unroll_in_shares, method=method, reverse=reverse),
    )
    want, got = (
        jax.jit(functools.partial(everything, run))(cell, state, xs, options) for run in runs
    )
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_sharded_bidirectional_layer_passes_delta_t_and_resets_across_devices(monkeypatch):
    monkeypatch.setattr(jax.lax, "ppermute", permute_by_gathering)
    cells = (seqmem.LRU(INPUT, HIDDEN, key=jax.random.key(k)) for k in (0, 1))
    network = seqmem.layers.Bidirectional(*map(seqmem.with_delta_t, cells))
    network = jax.tree.map(lambda leaf: leaf.astype(float), network)
    rng = np.random.default_rng(3)
    xs = seqmem.Timed(rng.standard_normal((TIME, BATCH, INPUT)), rng.random((TIME, BATCH)))
    options = {"resets": (np.arange(TIME) % 6 == 0)[:, None].repeat(BATCH, 1)}
    options["resets"][12] = False
    options["lengths"] = np.array([TIME, 18])
    method = seqmem.layers.LayerByLayer(seqmem.Sharded("time"))
    state = network.init_state(BATCH)
    got = jax.jit(functools.partial(unroll_in_shares, method=method, reverse=False))(
        network, state, xs, options
    )
    want = unroll_on_one_device(network, state, xs, options, reverse=False)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def unroll_on_one_device(cell, state, xs, options, *, reverse):
    return seqmem.unroll(cell, state, xs, reverse=reverse, **options)


@pytest.mark.parametrize("inner", [seqmem.Parallel(chunk_size=3), slow(seqmem.Scan())], ids=repr)
@pytest.mark.parametrize("cell_type", [seqmem.GILR, slow(seqmem.QRNN)])
def test_sharded_reset_hides_values_that_are_not_finite(cell_type, inner):
    """The reset lies in another share than the values before it."""
    cell = cell_type(INPUT, HIDDEN, key=jax.random.key(0))
    xs = np.random.default_rng(0).normal(size=(TIME, BATCH, INPUT)).astype(np.float32)
    resets = np.zeros((TIME, BATCH), bool)
    resets[13] = True
    method = seqmem.Sharded("time", inner)

    def value_and_gradient(xs):
        def loss(xs):
            _, ys = unroll_in_shares(
                cell, cell.init_state(BATCH), xs, {"resets": resets}, method=method, reverse=False
            )
            return jnp.sum(jnp.sin(ys[13:])), ys[13:]

        grads, ys = jax.grad(loss, has_aux=True)(xs)
        return ys, grads[13:]

    run = jax.jit(value_and_gradient)
    clean = run(xs)
    for value in (np.inf, -np.inf, np.nan):
        poisoned = xs.copy()
        poisoned[3:5] = value
        for a, b in zip(run(poisoned), clean, strict=True):
            np.testing.assert_array_equal(a, b)


def sequences(case):
    rng = np.random.default_rng(7)
    options = {}
    if "all" in case:
        options["lengths"] = np.array([17, 0])
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


def largest_difference(name, case):
    """Between eight devices and one, over values and gradients."""
    axis_type = AxisType.Explicit if "explicit" in case else AxisType.Auto
    mesh = jax.make_mesh((2, 4), ("data", "time"), axis_types=(axis_type,) * 2)
    cell, state = make_cell(name)
    xs, options = sequences(case)
    reverse = "all" in case
    inner = seqmem.Scan() if case == "scan" else seqmem.Parallel(chunk_size=2)
    method = seqmem.Sharded("time", inner)

    def one(cell, state, xs, options):
        return seqmem.unroll(cell, state, xs, reverse=reverse, **options)

    places = {"lengths": P("data"), "resets": P("time", "data")}
    specs = (P(), P("data"), P("time", "data"), {key: places[key] for key in options})
    names = {"data", "time"}
    in_specs, out_specs = specs, (P("data"), P("time", "data"))
    if "of XLA" in case:  # the batch is left to XLA, and is spread by where the arrays are
        names = {"time"}
        in_specs = (P(), P(), P("time"), {key: P(*places[key][:-1]) for key in options})
        out_specs = (P(), P("time"))

    def many(cell, state, xs, options):
        spread = jax.shard_map(
            lambda cell, state, xs, options: seqmem.unroll(
                cell, state, xs, reverse=reverse, method=method, **options
            ),
            mesh=mesh,
            in_specs=in_specs,
            out_specs=out_specs,
            axis_names=names,
        )
        return spread(cell, state, xs, options)

    args = (cell, state, xs, options)
    shardings = jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs)
    with seqmem.target_platform("gpu" if "GPU" in case else "cpu"):
        first = jax.jit(functools.partial(everything, one))(*args)
        second = jax.jit(functools.partial(everything, many))(*jax.device_put(args, shardings))
    differences = jax.tree.map(
        lambda a, b: float(np.abs(np.asarray(a) - np.asarray(b)).max()), first, second
    )
    return max(jax.tree.leaves(differences))


@pytest.fixture(scope="module")
def differences():
    return run_on_devices(DEVICES, "tests.methods.test_sharded", JAX_ENABLE_X64="1")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "case"), CASES)
def test_eight_devices_match_one(differences, name, case):
    assert differences[f"{name} {case}"] < 1e-10


@pytest.mark.parametrize(
    "call",
    [
        lambda cell, run: run(seqmem.GRU(3, 5, key=jax.random.key(0))),
        lambda cell, run: run(cell, remat_every=2),
        lambda cell, run: seqmem.Sharded("time", seqmem.Sharded("data")),
        lambda cell, run: seqmem.Sharded(
            "time", seqmem.Scan(transform=seqmem.gradients.ClipNorm(1.0))
        ),
    ],
)
def test_sharded_refuses_what_it_cannot_run(call):
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
        call(seqmem.MinGRU(3, 5, key=jax.random.key(0)), run)


if __name__ == "__main__":
    print(json.dumps({f"{name} {case}": largest_difference(name, case) for name, case in CASES}))
