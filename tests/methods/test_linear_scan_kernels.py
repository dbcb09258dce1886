"""`Parallel(kernel=...)`: the states of a diagonal recurrence by a kernel, and what it refuses.

No accelerator runs here: kernels are interpreted, and lowered for a TPU and for an H200.
"""

import functools
import importlib
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec as P

import seqmem
from seqmem._core.problem import Problem
from seqmem._methods.linear_scan import choice
from seqmem._methods.linear_scan.states import states_by_kernel
from seqmem._methods.linear_scan.tpu import TPUKernel
from seqmem._methods.recurrence import diagonal_states, in_chunks
from tests.helpers.cells import CELLS as LISTED
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow, slow_but
from tests.helpers.unrolling import close, normal

KEY = jax.random.key(0)
INTERPRETED = seqmem.Parallel(kernel="interpret")
CELLS = {
    "LRU": lambda size: seqmem.LRU(2, size, key=KEY),
    "MinGRU": lambda size: seqmem.MinGRU(2, size, key=KEY),
    "S5": lambda size: seqmem.S5(2, size, key=KEY),
    "RGLRU": lambda size: seqmem.RGLRU(size, key=KEY),
}
HAS_HOPPER = pytest.mark.skipif(
    jax.__version__ not in choice.HOPPER_VERSIONS,
    reason=f"the kernel for Hopper is for jax {', '.join(choice.HOPPER_VERSIONS)}",
)


# Recurrences


def draw_maps(shape, *, is_complex, is_cut):
    """Maps (a, b, cut) with |a| < 1, in float64."""
    rng = np.random.default_rng(math.prod(shape))

    def draw(scale):
        real, imaginary = scale * rng.normal(size=(2, *shape))
        return jnp.asarray(real + 1j * imaginary if is_complex else real)

    cut = jnp.asarray(rng.random(shape) < 0.2) if is_cut else None
    return draw(0.5), draw(1.0), cut


# (shape, chunk_size): rows of 8 x 128 entries that are not full, whole, and of two blocks
SHAPES = [
    ((1, 3), None),
    ((19, 3, 5), None),
    ((19, 3, 5), 4),
    ((19, 3, 5), 7),
    ((130, 5), None),
    ((5, 2, 128), 2),
    ((4, 9, 256), None),
    ((3, 40, 512), 2),
]
# In all ways for one shape; what a direction and cuts make of a run is the same code for others.
KINDS = [
    (shape, is_complex, reverse, is_cut)
    for shape, is_complex, reverse, is_cut in itertools.product(SHAPES, *[[False, True]] * 3)
    if reverse == is_cut or shape == SHAPES[3]
]
QUICK_KINDS = [
    (SHAPES[4], False, False, False),
]


@pytest.mark.parametrize(("shape", "is_complex", "reverse", "is_cut"), slow_but(QUICK_KINDS, KINDS))
@pytest.mark.usefixtures("float64")
def test_states_and_derivatives_by_the_kernel_match_a_loop(shape, is_complex, reverse, is_cut):
    shape, chunk_size = shape
    a, b, cut = draw_maps(shape, is_complex=is_complex, is_cut=is_cut)

    def derivatives(schedule):
        def solve(a, b, start):
            return diagonal_states(a, b, start, cut, reverse=reverse, schedule=schedule)

        def loss(*args):
            return jnp.sum(jnp.sin(jnp.abs(solve(*args)) ** 2))

        args = a, b, jnp.full_like(b[0], 0.5)
        run = jax.jit(
            lambda *args: (
                solve(*args),
                jax.grad(loss, (0, 1, 2))(*args),
                jax.jvp(solve, args, args)[1],
            )
        )
        return run(*args)

    kernel = functools.partial(states_by_kernel, TPUKernel(interpret=True), chunk_size)
    close(derivatives(kernel), derivatives(in_chunks(None)))


@pytest.mark.slow
@pytest.mark.parametrize("chunk_size", [slow(None), slow(2), 3])
def test_kernel_passes_nothing_through_a_cut(chunk_size):
    a = np.full((9, 2), np.nan, np.float32)
    a[4:] = 0.5
    cut = np.zeros((9, 2), bool)
    cut[4] = True
    maps = jnp.asarray(a), jnp.ones((9, 2)), jnp.asarray(cut)
    states = states_by_kernel(TPUKernel(interpret=True), chunk_size, maps, reverse=False)
    np.testing.assert_allclose(states[:, 0], [*[np.nan] * 4, 1, 1.5, 1.75, 1.875, 1.9375])


# Cells


@pytest.mark.parametrize(
    ("name", "size", "time", "chunk_size", "reverse"),
    [
        slow("LRU", 5, 19, 4, True),
        ("MinGRU", 5, 19, None, False),
        slow("LRU", 128, 70, None, False),
        slow("LRU", 5, 150, None, False),
        slow("MinGRU", 256, 70, 16, True),
        slow("S5", 5, 67, None, True),
        slow("S5", 5, 67, 16, False),
        slow("RGLRU", 7, 19, None, True),
        slow("RGLRU", 128, 150, None, False),
    ],
)
def test_cells_by_the_kernel_match_scan_and_parallel(name, size, time, chunk_size, reverse):
    """Values and all gradients in float32, with lengths, a learned state, and resets to it."""
    batch = 3
    cell = seqmem.with_learned_state(CELLS[name](size))
    (width,) = cell.input_shape
    xs = jnp.asarray(normal(time, batch, width), jnp.float32)
    resets = np.random.default_rng(1).random((time, batch)) < 0.2

    def loss(cell, xs, method):
        flags = {"lengths": jnp.array([time, 0, time - 2]), "resets": jnp.asarray(resets)}
        state, ys = seqmem.unroll(cell, None, xs, method=method, **flags, reverse=reverse)
        return sum(jnp.sum(jnp.abs(jnp.sin(leaf)) ** 2) for leaf in (state, ys)), (state, ys)

    run = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True), static_argnums=2)
    got = run(cell, xs, seqmem.Parallel(chunk_size, kernel="interpret"))
    wants = [run(cell, xs, method) for method in (seqmem.Scan(), seqmem.Parallel())]
    if max(largest_difference(got, want) for want in wants) > 1e-6:  # the rounding of a CPU
        with jax.enable_x64(True):
            wide = seqmem.as_precision((cell, xs), jnp.dtype(jnp.float64))
            exact = run(*wide, seqmem.Scan())
        errors = [largest_difference(result, exact) for result in (got, *wants)]
        assert errors[0] < 2 * errors[1], errors


def largest_difference(got, want):
    """Of all leaves, in units of the largest entry of a leaf."""
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True)
    pairs = [(np.asarray(a), np.asarray(b)) for a, b in pairs]
    return max(np.abs(a - b).max() / np.abs(b).max() for a, b in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MinGRU", "LRU"])
@pytest.mark.usefixtures("free_programs")
def test_every_law_holds_for_the_kernel(name):
    methods = [INTERPRETED, seqmem.Parallel(chunk_size=2, kernel="interpret")]
    report = seqmem.testing.check_cell(LISTED[name](), methods=methods)
    assert set(report.values()) == {"holds"}


@pytest.mark.parametrize("shape", [(7, 0, 2), (0, 3, 2)], ids=["batch", "time"])
def test_kernel_of_nothing_is_the_initial_state(shape):
    cell = CELLS["MinGRU"](5)
    state, ys = seqmem.unroll(cell, None, jnp.ones(shape), method=INTERPRETED)
    assert ys.shape == (*shape[:2], 5)
    np.testing.assert_array_equal(state, cell.init_state(shape[1]))


# Races


def as_float32(maps):
    a, b, cut = maps
    dtype = jnp.complex64 if jnp.iscomplexobj(a) else jnp.float32
    return a.astype(dtype), b.astype(dtype), cut


def assert_states(kernel, chunk_size, maps, reverse):
    run = jax.jit(functools.partial(states_by_kernel, kernel, chunk_size), static_argnums=1)
    want = in_chunks(None)(maps, reverse)
    np.testing.assert_allclose(run(maps, reverse), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("chunk_size", "reverse"), [(None, False), slow(16, True)])
def test_interpreter_of_tpus_finds_no_race(chunk_size, reverse):
    from jax._src.pallas.mosaic.interpret import interpret_pallas_call
    from jax.experimental.pallas import tpu as pltpu

    maps = as_float32(draw_maps((40, 9, 128), is_complex=True, is_cut=True))
    kernel = TPUKernel(interpret=pltpu.InterpretParams(detect_races=True))
    assert_states(kernel, chunk_size, maps, reverse)
    assert not interpret_pallas_call.races.races_found


@pytest.fixture
def h200():
    """The device of programs that are interpreted as an H200 runs them, or lowered for one."""
    device = jax.sharding.AbstractDevice(device_kind="NVIDIA H200", platform="gpu", num_cores=132)
    mesh = jax.sharding.AbstractMesh((), (), abstract_device=device)
    with jax.sharding.use_abstract_mesh(mesh):
        yield


@HAS_HOPPER
@pytest.mark.parametrize(
    ("is_complex", "chunk_size", "reverse"),
    [(False, None, True), slow(True, None, False), slow(True, 24, True), slow(False, 24, False)],
)
@pytest.mark.usefixtures("h200")
def test_interpreter_of_gpus_finds_no_race(monkeypatch, is_complex, chunk_size, reverse):
    """The ring of two slots is used several times over."""
    from jax._src.pallas.mosaic_gpu.interpret.interpret_pallas_call import get_races
    from jax._src.pallas.mosaic_gpu.interpret.params import InterpretGPUParams

    from seqmem._methods.linear_scan import hopper

    monkeypatch.setattr(hopper, "STAGES", 2)
    monkeypatch.setattr(hopper, "MOST_STEPS", 4)
    maps = as_float32(draw_maps((50, 3, 50), is_complex=is_complex, is_cut=True))
    kernel = hopper.HopperKernel(InterpretGPUParams(detect_races=True))
    assert_states(kernel, chunk_size, maps, reverse)
    assert not get_races().races_found  # the interpreters of newer versions raise


# Lowering, layouts


def lowered(platform, name, time, size, **options):
    """The gradient of an unroll by the kernel, lowered for a platform."""
    with jax.enable_x64(False):
        cell = CELLS[name](size)
    xs = jax.ShapeDtypeStruct((time, 4, 2), jnp.float32)

    def loss(cell, xs):
        ys = seqmem.unroll(cell, None, xs, method=seqmem.Parallel(kernel=True), **options)[1]
        return jnp.sum(ys**2)

    with seqmem.target_platform(platform):
        traced = jax.jit(jax.grad(loss)).trace(cell, xs)
    lowering = {"tpu": "tpu", "gpu": "cuda"}[platform]
    return traced.lower(lowering_platforms=(lowering,)).as_text()


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize(
    ("platform", "call"),
    [("tpu", "@tpu_custom_call"), pytest.param("gpu", "@mosaic_gpu_v2", marks=HAS_HOPPER)],
)
def test_gradient_is_a_kernel_each_way_or_two_where_a_step_is_small(platform, call, x64):
    resets = np.zeros((256, 4), bool)
    with jax.enable_x64(x64):
        whole = lowered(platform, "MinGRU", 256, 4096)
        split = lowered(platform, "LRU", 256, 128, resets=resets, reverse=True)
    assert (whole.count(call), split.count(call)) == (2, 4)


@pytest.mark.parametrize("module", ["tpu", pytest.param("hopper", marks=HAS_HOPPER)])
@pytest.mark.parametrize("num_planes", [3, 7])
def test_layouts_cover_all_steps_within_the_fast_memory(module, num_planes):
    module = importlib.import_module(f"seqmem._methods.linear_scan.{module}")
    kernel = module.TPUKernel() if hasattr(module, "TPUKernel") else module.HopperKernel()
    times, rests = (
        (1, 2, 63, 64, 130, 4097),
        ((), (0, 5), (1,), (3, 5), (8, 1536), (16, 256), (9, 384)),
    )
    for time, rest, chunk_size in itertools.product(times, rests, (None, 1, 3, 100, 5000)):
        layout = kernel.layout_of((time, *rest), num_planes, chunk_size)
        assert (layout.chunks - 1) * layout.chunk < time <= layout.chunks * layout.chunk
        assert layout.columns >= math.prod(rest)
        assert layout.step[-1] % layout.block[-1] == 0
        entries = layout.tile * math.prod(layout.block) * num_planes
        if module.__name__.endswith("tpu"):
            assert layout.block[0] % 8 == layout.block[1] % 128 == 0
            assert 2 * 4 * entries <= 2**23
            assert -layout.chunks * layout.step[0] % layout.block[0] < 8  # rows of padding
        else:
            assert min(4, layout.tiles) * 4 * entries <= 112 * 2**10
        if chunk_size is None:
            fills = math.prod(rest) >= (1024 if module.__name__.endswith("tpu") else 66 * 128)
            assert not (fills and layout.chunks > 1)
            assert fills or layout.chunks > 1 or time < 128


# What is refused


def unroll_by_kernel(cell, platform="tpu", kernel=True, **options):
    (width,) = cell.input_shape
    with seqmem.target_platform(platform):
        return seqmem.unroll(
            cell, None, jnp.ones((5, 2, width)), method=seqmem.Parallel(kernel=kernel), **options
        )


def test_kernel_on_a_cpu_is_refused():
    message = assert_refused(
        "Parallel(kernel=True) cannot run MinGRU: there is no kernel for a CPU",
        unroll_by_kernel,
        CELLS["MinGRU"](5),
        "cpu",
    )
    assert "seqmem.Parallel()" in message
    assert "seqmem.Scan()" in message


@pytest.mark.parametrize(
    "cell",
    [
        seqmem.DepthwiseConv(2, width=3, key=KEY),
        seqmem.layers.RMSNorm(2),
    ],
    ids=lambda cell: cell.family.name,
)
@pytest.mark.parametrize("kernel", [True, "interpret"])
def test_family_without_a_kernel_is_refused(cell, kernel):
    message = assert_refused("Parallel(kernel=", unroll_by_kernel, cell, "tpu", kernel)
    assert cell.family.name in message
    assert "seqmem.Parallel()" in message


def test_kernel_of_a_gpu_is_refused_with_another_version_of_jax(monkeypatch):
    monkeypatch.setattr(choice, "HOPPER_VERSIONS", ("0.0.1", "0.0.2"))
    message = assert_refused(
        "Parallel(kernel=True) cannot run LRU", unroll_by_kernel, CELLS["LRU"](5), "gpu"
    )
    assert f"0.0.1, 0.0.2, and this is jax {jax.__version__}" in message


@pytest.mark.usefixtures("float64")
def test_kernel_is_refused_for_states_of_float64_unless_it_is_interpreted():
    cell = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), CELLS["LRU"](5))
    assert_refused(
        "Parallel(kernel=True) cannot run LRU: its state is complex128", unroll_by_kernel, cell
    )
    unroll_by_kernel(cell, kernel="interpret")


def test_kernel_is_refused_where_the_batch_is_symbolic_or_spread_over_devices():
    cell = CELLS["LRU"](5)

    def run(xs):
        return seqmem.unroll(cell, None, xs, method=INTERPRETED)[1]

    xs = jnp.ones((7, 2, 2))
    for shape in ("(7, b, 2)", "(t, 2, 2)"):
        specs = jax.export.symbolic_args_specs(xs, shape)
        message = assert_refused("Parallel(", jax.export.export(jax.jit(run)), specs)
        assert "is symbolic" in message
    init = cell.init_state()
    state = jnp.broadcast_to(init, (2, *init.shape))
    problem = Problem(cell, init, state, xs, batch_axes=1, shares=2)
    assert "over devices" in assert_refused("Parallel(", INTERPRETED.run, problem)


def test_kernel_inside_of_shard_map_is_lowered_for_a_tpu_and_refused_elsewhere():
    cell, mesh = CELLS["LRU"](5), jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))

    def lower(platform, kernel):
        def loss(cell, xs):
            method = seqmem.Parallel(kernel=kernel)
            return jax.lax.psum(jnp.sum(seqmem.unroll(cell, None, xs, method=method)[1]), "data")

        specs = P(), P(None, "data")
        run = jax.shard_map(jax.grad(loss), mesh=mesh, in_specs=specs, out_specs=P())
        with seqmem.target_platform(platform):
            return jax.jit(run).trace(cell, jnp.ones((7, 2, 2))).lower(lowering_platforms=("tpu",))

    assert lower("tpu", True).as_text().count("@tpu_custom_call") == 2
    assert "shard_map" in assert_refused("Parallel(", lower, "tpu", "interpret")


@pytest.mark.parametrize("kernel", ["tpu", None, 2, "True"])
def test_another_kernel_is_refused(kernel):
    assert_refused(f"Parallel got kernel={kernel!r}", seqmem.Parallel, kernel=kernel)
