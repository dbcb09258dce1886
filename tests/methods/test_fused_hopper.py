"""The kernels of `Fused` for Hopper GPUs: by the interpreter of Mosaic GPU, values and gradients
are those of `Scan`, and no thread reads what another one may be writing. Lowered for CUDA, a pass
is one kernel.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem._methods.fused import hopper_gates, hopper_limits
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow, slow_but

TIME, BATCH, INPUT = 4, 3, 2
KEY = jax.random.key(0)
CELLS = [seqmem.RNN, seqmem.GRU, seqmem.LSTM, seqmem.PeepholeLSTM, seqmem.SLSTM]
LENGTHS = np.array([4, 3, 0])
RESETS = np.array([[0, 0, 0], [1, 1, 1], [0, 1, 0], [1, 0, 0]], bool)
NARROW, TENSOR = seqmem.Fused("bfloat16"), seqmem.Fused("tensorfloat32")
H200 = jax.sharding.AbstractDevice(device_kind="NVIDIA H200", platform="gpu", num_cores=132)
OTHER_VERSION = hopper_limits.refusal(interpret=True)

needs_tested_jax = pytest.mark.skipif(OTHER_VERSION is not None, reason=str(OTHER_VERSION))


class WithoutProduct(seqmem.RNN):
    """A gate that alone reads the state."""

    def mix(self, state, u):
        return u

    def gate(self, state, z):
        return 0.9 * state + jnp.tanh(z)


class ArcTangent(seqmem.RNN):
    """A gate that Mosaic GPU cannot compute."""

    def gate(self, state, z):
        return jnp.arctan(z)


def test_operations_that_are_rewritten_are_those_of_numpy():
    x = jnp.float32([1e-9, -1e-8, 1e-4, 0, 0.5, -0.9, 30, np.inf])
    np.testing.assert_allclose(hopper_gates._log1p(x), np.log1p(np.asarray(x)), rtol=5e-7)
    for power in (3, 0, -2):
        got = hopper_gates._integer_pow(jnp.float32([2, -3]), y=power)
        np.testing.assert_allclose(got, np.float64([2, -3]) ** power, rtol=1e-6)


@pytest.fixture
def h200():
    """A device that is not there, whose size the interpreter reads."""
    mesh = jax.sharding.AbstractMesh((), (), abstract_device=H200)
    with jax.sharding.use_abstract_mesh(mesh):
        yield


def interpreted(precision=None):
    from jax.experimental.pallas import mosaic_gpu as plgpu

    return seqmem.Fused(precision, interpret=plgpu.InterpretGPUParams(detect_races=True))


def find_races():
    from jax._src.pallas.mosaic_gpu.interpret import interpret_pallas_call

    return interpret_pallas_call.get_races().races_found


def learned(make, units, dtype=jnp.float32):
    """A cell with a learned initial state, no part of which is near 0: SLSTM divides by one."""
    cell = make(INPUT, units, key=KEY)
    state = jax.tree.map(
        lambda leaf: jax.random.uniform(KEY, leaf.shape, minval=0.2, maxval=0.5), cell.init_state()
    )
    cell = seqmem.with_learned_state(cell, state)
    return jax.tree.map(lambda leaf: leaf.astype(dtype), cell)


@functools.partial(jax.jit, static_argnums=0, static_argnames="reverse")
def everything(method, cell, xs, perturbations=None, **options):
    """Outputs, final state, and the gradients of parameters, state, inputs and perturbations."""
    state = jax.tree.map(
        lambda leaf: leaf + 0.3 * jnp.ones((*xs.shape[1:-1], 1), leaf.dtype), cell.init_state()
    )

    def loss(cell, state, xs, perturbations):
        result = seqmem.unroll(
            cell, state, xs, method=method, perturbations=perturbations, **options
        )
        leaves = [leaf.astype(jnp.float32) for leaf in jax.tree.leaves(result)]
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in leaves), result

    return jax.value_and_grad(loss, (0, 1, 2, 3), has_aux=True)(cell, state, xs, perturbations)


def largest_difference(got, want):
    """Of all leaves, in units of the largest entry of a leaf, or of 1 if that is more."""
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True)
    pairs = [(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in pairs]
    return max(np.abs(a - b).max(initial=0) / max(1, np.abs(b).max(initial=0)) for a, b in pairs)


CASES = [
    (make, reverse, has_flags)
    for make in [*CELLS, seqmem.IndRNN, WithoutProduct]
    for reverse in (False, True)
    for has_flags in (False, True)
]


@needs_tested_jax
@pytest.mark.usefixtures("h200")
@pytest.mark.parametrize(
    ("make", "reverse", "has_flags"), slow_but([(seqmem.RNN, True, True)], CASES)
)
def test_kernels_give_the_numbers_of_scan(make, reverse, has_flags):
    """The interpreter multiplies float32 where a tensor core multiplies tensorfloat32."""
    cell, xs = learned(make, 64), jax.random.normal(KEY, (TIME, BATCH, INPUT))
    flags = {}
    if has_flags:
        perturbations = jax.tree.map(
            lambda leaf: 0.1 * jax.random.normal(KEY, (TIME, BATCH, *leaf.shape)), cell.init_state()
        )
        flags = {"lengths": LENGTHS, "resets": RESETS, "perturbations": perturbations}
    method = interpreted("tensorfloat32")
    got = jax.block_until_ready(everything(method, cell, xs, **flags, reverse=reverse))
    want = everything(seqmem.Scan(), cell, xs, **flags, reverse=reverse)
    assert largest_difference(got, want) < 1e-5
    assert not find_races()


@needs_tested_jax
@pytest.mark.usefixtures("h200")
@pytest.mark.parametrize("make", slow_but([seqmem.RNN], CELLS))
def test_warpgroups_share_the_factors_of_their_products(make):
    """Two warpgroups in each of two blocks."""
    cell, xs = learned(make, 128), jax.random.normal(KEY, (3, 11, INPUT))
    got = jax.block_until_ready(everything(interpreted("bfloat16"), cell, xs))
    want = everything(seqmem.Scan(), cell, xs)
    assert 1e-5 < largest_difference(got, want) < 2**-6
    assert not find_races()


@needs_tested_jax
@pytest.mark.usefixtures("h200")
@pytest.mark.parametrize("make", slow_but([], CELLS))
def test_kernels_are_as_precise_as_scan_in_bfloat16(make):
    narrow = learned(make, 64, jnp.bfloat16)
    xs = jax.random.normal(KEY, (TIME, BATCH, INPUT), jnp.bfloat16)
    exact = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), narrow)
    want = everything(seqmem.Scan(), exact, xs.astype(jnp.float32))
    of_scan, of_kernel = (
        largest_difference(everything(method, narrow, xs), want)
        for method in (seqmem.Scan(), interpreted())
    )
    assert of_kernel < 1.5 * of_scan + 2**-8


@pytest.mark.slow
@needs_tested_jax
@pytest.mark.usefixtures("h200")
def test_vmap_runs_a_kernel_for_each_example():
    cell, xs = learned(seqmem.RNN, 64), jax.random.normal(KEY, (TIME, 2, BATCH, INPUT))

    def gradient(cell, xs):
        def loss(cell):
            return seqmem.unroll(cell, None, xs, method=interpreted("tensorfloat32"))[1].sum()

        return jax.grad(loss)(cell)

    got = jax.jit(jax.vmap(gradient, (None, 1)))(cell, xs)
    pairs = [jax.jit(gradient)(cell, xs[:, example]) for example in range(2)]
    want = jax.tree.map(lambda *leaves: jnp.stack(leaves), *pairs)
    assert largest_difference(got, want) < 1e-5
    assert not find_races()


@needs_tested_jax
@pytest.mark.parametrize("make", slow_but([seqmem.GRU], CELLS))
@pytest.mark.parametrize(
    ("method", "units"), [(NARROW, 128), slow(TENSOR, 64)], ids=["bfloat16", "tensorfloat32"]
)
def test_forward_and_backward_are_one_kernel_each_on_a_gpu(make, method, units):
    xs = jax.ShapeDtypeStruct((TIME, 11, INPUT), jnp.float32)

    def run(cell, xs):
        resets = jnp.zeros((TIME, 11), bool).at[2].set(True)
        return seqmem.unroll(cell, None, xs, method=method, resets=resets)[1]

    def gradient(cell, xs):
        return jax.grad(lambda cell: run(cell, xs).sum())(cell)

    with seqmem.target_platform("gpu"):
        for program, kernels in ((run, 1), (gradient, 2)):
            traced = jax.jit(program).trace(make(INPUT, units, key=KEY), xs)
            text = traced.lower(lowering_platforms=("cuda",)).as_text()
            assert len(re.findall(r"custom_call @mosaic_gpu\w*", text)) == kernels
            assert "stablehlo.while" not in text


@needs_tested_jax
@pytest.mark.parametrize(
    ("method", "cell", "clause"),
    [
        (NARROW, (seqmem.GRU, 65), "it has 65 units, not a multiple of 64 up to 512"),
        (NARROW, (seqmem.IndRNN, 576), "it has 576 units, not a multiple of 64 up to 512"),
        (
            NARROW,
            (seqmem.LSTM, 192),
            "its matrices take 288 KiB, and the factors of 8 examples 24 KiB, of the 223 KiB of "
            "shared memory; cuDNN's LSTM multiplies 'float32' or 'tensorfloat32', not 'bfloat16'",
        ),
        (
            TENSOR,
            (seqmem.GRU, 192),
            "its matrices take 432 KiB, and the factors of 8 examples 36 KiB, of the 223 KiB of "
            "shared memory",
        ),
        (NARROW, (ArcTangent, 64), "its gate uses atan, which Mosaic GPU does not compute"),
        (
            seqmem.Fused("float32"),
            (seqmem.GRU, 64),
            "the tensor cores of a GPU do not multiply float32: precision='tensorfloat32' or "
            "'bfloat16' is for them",
        ),
        (seqmem.Fused(), (seqmem.GRU, 64), "its parameters are float32, and no precision is given"),
    ],
)
def test_what_does_not_fit_a_gpu_is_refused_with_the_numbers(method, cell, clause):
    make, units = cell
    cell, xs = make(INPUT, units, key=KEY), jnp.ones((TIME, BATCH, INPUT))
    with seqmem.target_platform("gpu"):
        assert method.refusal(cell, xs) == clause
        assert_refused(
            f"Fused cannot run {make.__name__}: {clause}.",
            seqmem.unroll,
            *(cell, None, xs),
            method=method,
        )


@needs_tested_jax
def test_arrays_beyond_the_offsets_of_a_kernel_are_refused():
    cell = seqmem.LSTM(1, 128, key=KEY)

    def run(xs):
        return seqmem.unroll(cell, None, xs, method=NARROW)

    with seqmem.target_platform("gpu"):
        assert_refused(
            "Fused cannot run LSTM: its pre-activations have 2147483648 entries, and a kernel "
            "counts to 2147483648; cuDNN's LSTM",
            jax.eval_shape,
            *(run, jax.ShapeDtypeStruct((2**14, 2**8, 1), jnp.float32)),
        )


def test_tensorfloat32_is_for_a_gpu():
    cell, xs = seqmem.RNN(INPUT, 64, key=KEY), jnp.ones((TIME, BATCH, INPUT))
    with seqmem.target_platform("tpu"):
        clause = TENSOR.refusal(cell, xs)
    assert clause == "precision='tensorfloat32' is for the tensor cores of a GPU"


def test_other_versions_of_jax_are_refused(monkeypatch):
    monkeypatch.setattr(hopper_limits, "TESTED_VERSIONS", ("0.1.2", "0.1.3"))
    cell, xs = seqmem.RNN(INPUT, 64, key=KEY), jnp.ones((TIME, BATCH, INPUT))
    with seqmem.target_platform("gpu"):
        clause = NARROW.refusal(cell, xs)
    assert clause == (
        "its kernels for Hopper were tested with JAX 0.1.2 and 0.1.3, and this is JAX "
        f"{jax.__version__}"
    )


@needs_tested_jax
@pytest.mark.parametrize(("capability", "is_refused"), [("9.0", False), ("8.0", True)])
def test_a_gpu_that_is_no_hopper_is_refused(monkeypatch, capability, is_refused):
    device = type("Device", (), {"compute_capability": capability})
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    clause = hopper_limits.refusal()
    assert (clause is not None) == is_refused
    assert not is_refused or "9.0, and this one has 8.0" in clause


def test_a_tile_of_the_batch_is_small_while_there_are_multiprocessors():
    batches = 1, 8, 9, 132 * 8, 132 * 8 + 1, 10**6
    assert [hopper_limits.columns_of(batch) for batch in batches] == [8, 8, 8, 8, 16, 16]
