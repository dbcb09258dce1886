"""`Fused`: one kernel for all of time, by interpretation, gives the numbers of `Scan`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec as P

import seqmem
from seqmem._methods.fused import tiles
from tests.helpers.cells import CELLS, SMALL, shapes_of
from tests.helpers.fused import BATCH, EXACT, INPUT, KEY, TIME, lower_gradient
from tests.helpers.laws import check_laws_of_time
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow, slow_but

REFUSED = {
    *("ConvGRU", "ConvLSTM", "CoRNN", "FastGRNN", "FastRNN", "NonlinearRTU", "PhasedLSTM"),
    "SCRN",
}
GATED = [name for name in CELLS if shapes_of(name).family is seqmem.GATED and name not in REFUSED]
LARGE_GATED = [name for name in GATED if name not in SMALL]
LENGTHS = np.array([7, 3, 0])
RESETS = np.array([[0, 0, 0], [0, 1, 0], [1, 1, 1], [0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0]])


@pytest.fixture
def short_tiles(monkeypatch):
    """Three tiles of time, the last of them not full."""
    monkeypatch.setattr(tiles, "MOST_STEPS", 3)


def normal(key, *shape, dtype=jnp.float32):
    return jax.random.normal(jax.random.key(key), shape, dtype)


def learned(name, dtype=jnp.float32):
    """A cell of the list with a learned initial state that is not 0. Structured matrices are arrays
    already, since what makes them is no part of a method; their parameters were moved, so that an
    orthogonal matrix is one, and rounding does not grow with the steps.
    """
    leaves, structure = jax.tree.flatten(seqmem.with_learned_state(CELLS[name]()))
    moved = [leaf + 0.1 * normal(place, *leaf.shape) for place, leaf in enumerate(leaves)]
    cell = seqmem.evaluate_parametrizations(structure.unflatten(moved))
    return jax.tree.map(lambda leaf: leaf.astype(dtype), cell)


@functools.partial(jax.jit, static_argnums=0, static_argnames="reverse")
def everything(method, cell, xs, **options):
    """Outputs, final state, and the gradients of parameters, state and inputs."""
    state = jax.tree.map(
        lambda leaf: leaf + 0.3 * jnp.ones((*xs.shape[1:-1], 1), leaf.dtype), cell.init_state()
    )

    def loss(cell, state, xs):
        result = seqmem.unroll(cell, state, xs, method=method, **options)
        leaves = [leaf.astype(jnp.float32) for leaf in jax.tree.leaves(result)]
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in leaves), result

    return jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(cell, state, xs)


def largest_difference(got, want):
    """Of all leaves, in units of the largest entry of a leaf, or of 1 if that is more."""
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True)
    pairs = [(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in pairs]
    return max(np.abs(a - b).max(initial=0) / max(1, np.abs(b).max(initial=0)) for a, b in pairs)


# In all ways for two cells; what a direction and flags make of a run is the same code for others.
IN_ALL_WAYS = {"GRU", "LSTM"}
CASES = [
    (name, reverse, has_flags)
    for name in LARGE_GATED
    for reverse in (False, True)
    for has_flags in (False, True)
    if reverse == has_flags or name in IN_ALL_WAYS
]
CASES += [(name, True, True) for name in GATED if name in SMALL]


@pytest.mark.usefixtures("short_tiles")
@pytest.mark.parametrize(
    ("name", "reverse", "has_flags"),
    slow_but([("GRU", False, True)], CASES),
)
def test_kernels_give_the_numbers_of_scan(name, reverse, has_flags):
    cell, xs = learned(name), normal(1, TIME, BATCH, INPUT)
    flags = {}
    if has_flags:
        perturbations = jax.tree.map(
            lambda leaf: 0.1 * normal(2, TIME, BATCH, *leaf.shape), cell.init_state()
        )
        flags = {"lengths": LENGTHS, "resets": RESETS.astype(bool), "perturbations": perturbations}
    got = everything(EXACT, cell, xs, **flags, reverse=reverse)
    want = everything(seqmem.Scan(), cell, xs, **flags, reverse=reverse)
    if largest_difference(got, want) >= 1e-6:  # some cells amplify the rounding of a CPU
        with jax.enable_x64(True):
            widen = functools.partial(seqmem.as_precision, dtype=jnp.dtype(jnp.float64))
            cell, xs, flags = widen(cell), widen(xs), widen(flags)
            exact = everything(seqmem.Scan(), cell, xs, **flags, reverse=reverse)
        assert largest_difference(got, exact) < 2 * largest_difference(want, exact)


@pytest.mark.parametrize("name", slow_but({"LSTM"}, LARGE_GATED))
def test_kernels_are_as_precise_as_scan_in_bfloat16(name):
    xs = normal(1, TIME, BATCH, INPUT)
    narrow = learned(name, jnp.bfloat16)
    exact = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), narrow)
    want = everything(seqmem.Scan(), exact, xs.astype(jnp.bfloat16).astype(jnp.float32))
    of_scan, of_kernel = (
        largest_difference(everything(method, narrow, xs.astype(jnp.bfloat16)), want)
        for method in (seqmem.Scan(), seqmem.Fused(interpret=True))
    )
    assert of_kernel < 1.5 * of_scan + 2**-8


def test_products_of_a_float32_cell_may_be_bfloat16():
    cell, xs = learned("GRU"), normal(1, TIME, BATCH, INPUT)
    want = everything(seqmem.Scan(), cell, xs)
    got = everything(seqmem.Fused("bfloat16", interpret=True), cell, xs)
    assert 1e-5 < largest_difference(got, want) < 2**-5


@pytest.mark.usefixtures("free_programs", "short_tiles")
@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE_GATED)
def test_cell_passes_every_law(name):
    """For two cells also perturbations, no batch and several batch axes, and second derivatives,
    which are the same code for the others.
    """
    if name in IN_ALL_WAYS:
        report = seqmem.testing.check_cell(CELLS[name](), methods=[EXACT])
        assert set(report.values()) == {"holds"}
    else:
        check_laws_of_time(CELLS[name](), [EXACT])


@pytest.mark.slow
@pytest.mark.parametrize("remat_every", [2, 5])
def test_segments_of_a_rematerialised_run_are_kernels(remat_every):
    cell, xs = learned("GRU"), normal(1, TIME, BATCH, INPUT)
    want = everything(seqmem.Scan(), cell, xs)
    got = everything(seqmem.Remat(remat_every, EXACT), cell, xs)
    assert largest_difference(got, want) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["GRU", "SLSTM"])
def test_kernels_have_no_races(name):
    """By the interpreter that runs tiles as a TPU does, and looks for races."""
    tpu = pytest.importorskip("jax.experimental.pallas.tpu")
    from jax._src.pallas.mosaic.interpret import interpret_pallas_call

    method = seqmem.Fused("float32", interpret=tpu.InterpretParams(detect_races=True))
    cell, xs = learned(name), normal(1, TIME, BATCH, INPUT)
    got = jax.block_until_ready(everything(method, cell, xs))
    assert largest_difference(got, everything(seqmem.Scan(), cell, xs)) < 1e-6
    assert not interpret_pallas_call.races.races_found


@pytest.mark.parametrize("name", slow_but({"GRU"}, LARGE_GATED))
@pytest.mark.parametrize("dtype", [jnp.float32, slow(jnp.bfloat16)])
def test_forward_and_backward_are_one_kernel_each_on_tpu(name, dtype):
    cell = seqmem.evaluate_parametrizations(CELLS[name]())  # the matrix may take loops of its own
    cell = jax.tree.map(lambda leaf: leaf.astype(dtype), cell)
    xs = jax.ShapeDtypeStruct((TIME, BATCH, INPUT), dtype)

    def run(cell, xs):
        return seqmem.unroll(cell, None, xs, method=seqmem.Fused("float32"))[1]

    def gradient(cell, xs):
        return jax.grad(lambda both: run(*both).astype(jnp.float32).sum())((cell, xs))

    with seqmem.target_platform("tpu"):
        for program, kernels in ((run, 1), (gradient, 2)):
            lowered = jax.jit(program).trace(cell, xs).lower(lowering_platforms=("tpu",))
            text = lowered.as_text()
            assert text.count("@tpu_custom_call") == kernels
            assert "stablehlo.while" not in text


@pytest.mark.slow
def test_spikes_of_the_arctangent_lower_for_tpu():
    cell = seqmem.LIF(INPUT, 5, is_recurrent=True, surrogate=seqmem.spikes.ArcTan(), key=KEY)
    assert lower_gradient(cell).as_text().count("@tpu_custom_call") == 2


def test_kernels_run_inside_of_shard_map_without_check_vma():
    cell, xs = CELLS["LSTM"](), normal(1, TIME, 2, INPUT)
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))

    def gradient(method, cell, xs):
        def loss(cell):
            return jnp.sum(jnp.sin(seqmem.unroll(cell, None, xs, method=method)[1]))

        return jax.lax.psum(jax.grad(loss)(cell), "data")

    def on_mesh(method, check_vma):
        run = functools.partial(gradient, method)
        specs = {"in_specs": (P(), P(None, "data")), "out_specs": P()}
        return jax.jit(jax.shard_map(run, mesh=mesh, check_vma=check_vma, **specs))(cell, xs)

    want = on_mesh(seqmem.Scan(), check_vma=False)
    assert largest_difference(on_mesh(EXACT, check_vma=False), want) < 1e-6
    assert "check_vma=False" in assert_refused("Fused cannot run LSTM", on_mesh, EXACT, True)
