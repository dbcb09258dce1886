"""`Parallel(kernel=...)`: the states of a diagonal recurrence by a kernel, values and derivatives.

No accelerator runs here: kernels are interpreted.
"""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem._methods.linear_scan.states import states_by_kernel
from seqmem._methods.linear_scan.tpu import TPUKernel
from seqmem._methods.recurrence import diagonal_states, in_chunks
from tests.helpers.cells import CELLS as LISTED
from tests.helpers.linear_scan import CELLS, HAS_HOPPER, INTERPRETED
from tests.helpers.slow import slow, slow_but
from tests.helpers.unrolling import close, normal

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
