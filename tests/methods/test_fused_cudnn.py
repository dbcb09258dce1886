"""cuDNN's LSTM under `Fused`, with the reference of `jax.experimental.rnn` in the kernel's place:
values and gradients are those of `Scan`; what cuDNN cannot do is refused.

The stand-in is a primitive without rules for derivatives and batching, as cuDNN's is.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import rnn
from jax.extend.core import Primitive
from jax.interpreters import mlir

import seqmem
from seqmem._methods.fused import cudnn_lstm, hopper_limits
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow

TIME, BATCH, INPUT, UNITS = 7, 5, 2, 11
KEY = jax.random.key(0)
METHOD = seqmem.Fused("float32")
LENGTHS = np.array([7, 3, 1, 0, 2])
CALLS: list[jax.lax.Precision] = []

needs_tested_jax = pytest.mark.skipif(
    jax.__version__ not in hopper_limits.TESTED_VERSIONS,
    reason=f"the kernels for Hopper were not tested with JAX {jax.__version__}",
)


def opaque(function):
    """A function as a primitive that JAX can neither differentiate nor map."""
    primitive = Primitive(function.__name__)
    primitive.multiple_results = True
    lower = mlir.lower_fun(lambda *args: jax.tree.leaves(function(*args)), True)
    mlir.register_lowering(primitive, lower)

    def abstract(*avals):
        shapes = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in avals]
        leaves = jax.tree.leaves(jax.eval_shape(function, *shapes))
        return [jax.core.ShapedArray(leaf.shape, leaf.dtype) for leaf in leaves]

    primitive.def_abstract_eval(abstract)
    return primitive


def reference(x, h, c, weights, lengths):
    units = h.shape[-1]
    parts = rnn.unpack_lstm_weights(weights, x.shape[-1], units, 1, False)
    return rnn.lstm_ref(x, h, c, *parts, lengths, x.shape[-1], units, 1, 0.0, False)


def pull_back(x, h, c, weights, lengths, *d_results):
    run = functools.partial(reference, lengths=lengths)
    return jax.vjp(run, x, h, c, weights)[1](d_results)


FORWARD, BACKWARD = opaque(reference), opaque(pull_back)


def lstm_fwd(x, h, c, weights, lengths, *sizes):
    assert lengths.dtype == jnp.int32
    assert sizes[:-1] == (x.shape[-1], h.shape[-1], 1, 0.0, False)
    CALLS.append(sizes[-1])
    results = tuple(FORWARD.bind(x, h, c, weights, lengths))
    reserve = jnp.where((lengths >= 1).all(), jnp.ones(3), jnp.nan)
    return results, (x, h, c, weights, lengths, results[0], reserve)


def lstm_bwd(*args):
    *_, (x, h, c, weights, lengths, _, reserve), d_results = args
    gradients = BACKWARD.bind(x, h, c, weights, lengths, *d_results)
    return *(gradient * reserve[0] for gradient in gradients), jnp.zeros_like(lengths)


@pytest.fixture
def stand_in(monkeypatch):
    """A program for a GPU, on which the stand-in runs in place of cuDNN."""
    monkeypatch.setattr(cudnn_lstm, "_refusal_of_device", lambda: None)
    monkeypatch.setattr(rnn, "lstm_fwd", lstm_fwd)
    monkeypatch.setattr(rnn, "lstm_bwd", lstm_bwd)
    CALLS.clear()
    with seqmem.target_platform("gpu"):
        yield


def make(make_cell=seqmem.LSTM, units=UNITS, dtype=jnp.float32):
    cell = make_cell(INPUT, units, key=KEY)
    return jax.tree.map(lambda leaf: leaf.astype(dtype), cell)


def draw(*shape):
    return jax.random.normal(jax.random.key(1), shape)


@functools.partial(jax.jit, static_argnums=0, static_argnames="reverse")
def everything(method, cell, xs, **options):
    """Outputs, final state, and the gradients of parameters, state and inputs."""
    state = jax.tree.map(
        lambda leaf: leaf + 0.3 * jnp.ones((*xs.shape[1:-1], 1)), cell.init_state()
    )

    def loss(cell, state, xs):
        final, ys = seqmem.unroll(cell, state, xs, method=method, **options)
        return jnp.sum(jnp.sin(ys)) + jnp.sum(final.h * final.c), (final, ys)

    return jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(cell, state, xs)


def largest_difference(got, want):
    """Of all leaves, in units of the largest entry of a leaf, or of 1 if that is more."""
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True)
    pairs = [(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in pairs]
    ratios = [np.abs(a - b).max(initial=0) / max(1, np.abs(b).max(initial=0)) for a, b in pairs]
    return np.max(ratios)  # NaN, where Python's max would pass over it


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("reverse", "has_lengths"),
    [(True, True), slow(False, False), slow(False, True), slow(True, False)],
)
def test_lstm_gives_the_numbers_of_scan(reverse, has_lengths):
    """A sequence without steps among them, and padding that is not a number."""
    cell, xs, options = make(), draw(TIME, BATCH, INPUT), {}
    if has_lengths:
        xs = jnp.where(np.arange(TIME)[:, None, None] < LENGTHS[:, None], xs, jnp.nan)
        options = {"lengths": LENGTHS}
    got = everything(METHOD, cell, xs, **options, reverse=reverse)
    want = everything(seqmem.Scan(), cell, xs, **options, reverse=reverse)
    assert largest_difference(got, want) < 2e-6
    assert set(CALLS) == {jax.lax.Precision.HIGHEST}


@pytest.mark.slow
@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("batch", [(), (2, 3)])
def test_lstm_has_any_number_of_batch_axes(batch):
    cell, xs = make(), draw(TIME, *batch, INPUT)
    got = everything(METHOD, cell, xs)
    assert largest_difference(got, everything(seqmem.Scan(), cell, xs)) < 2e-6


@pytest.mark.slow
@pytest.mark.usefixtures("stand_in")
def test_a_mask_and_segments_of_a_rematerialised_run_hold():
    cell, xs = make(), draw(TIME, BATCH, INPUT)
    mask = np.arange(TIME)[:, None] % (2 + np.arange(BATCH)) != 1
    got = everything(seqmem.Remat(3, METHOD), cell, xs, mask=mask)
    assert largest_difference(got, everything(seqmem.Scan(), cell, xs, mask=mask)) < 2e-6


@pytest.mark.slow
@pytest.mark.usefixtures("stand_in")
def test_second_derivatives_are_those_of_scan():
    cell, xs = make(), draw(TIME, BATCH, INPUT)

    def norm_of_gradient(method, cell, xs):
        gradients = everything(method, cell, xs, lengths=LENGTHS)[1]
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradients))

    second = jax.jit(jax.grad(norm_of_gradient, (1, 2)), static_argnums=0)
    assert largest_difference(second(METHOD, cell, xs), second(seqmem.Scan(), cell, xs)) < 1e-5


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("axis_of_cell", [slow(None), 0])
def test_vmap_calls_cudnn_for_each_example(axis_of_cell):
    cell, xs = make(), draw(TIME, 2, BATCH, INPUT)
    if axis_of_cell == 0:
        cell = jax.tree.map(lambda leaf: jnp.stack([leaf, 0.5 * leaf]), cell)

    def run(method):
        return jax.vmap(functools.partial(everything, method), (axis_of_cell, 1))(cell, xs)

    assert largest_difference(run(METHOD), run(seqmem.Scan())) < 2e-6


@pytest.mark.parametrize("precision", ["float32", "tensorfloat32"])
def test_each_pass_is_one_call_of_jax_experimental_rnn(monkeypatch, precision):
    """Traced as on a GPU, where JAX asks cuDNN for the sizes of its scratch."""
    sizes = "compute_rnn_workspace_reserve_space_sizes"
    monkeypatch.setattr(rnn.gpu_rnn, sizes, lambda *args: (11, 13), raising=False)
    monkeypatch.setattr(cudnn_lstm, "_refusal_of_device", lambda: None)
    cell, xs, method = make(), draw(TIME + 1, BATCH, INPUT), seqmem.Fused(precision)

    def loss(cell, xs):
        return jnp.sum(jnp.sin(seqmem.unroll(cell, None, xs, method=method)[1]))

    with seqmem.target_platform("gpu"):
        program = str(jax.make_jaxpr(jax.grad(loss, (0, 1)))(cell, xs))
    assert program.count("rnn_fwd[") == program.count("rnn_bwd[") == 1
    assert program.count(f"cudnn_allow_tf32={precision == 'tensorfloat32'}") == 2
    assert "scan[" not in program


@pytest.mark.slow
@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("precision", "is_tensorfloat32"), [("float32", False), ("tensorfloat32", True)]
)
def test_precision_is_the_one_asked_for_whatever_the_default_of_jax_is(precision, is_tensorfloat32):
    with jax.default_matmul_precision("bfloat16" if is_tensorfloat32 else "tensorfloat32"):
        seqmem.unroll(make(), None, draw(TIME, INPUT), method=seqmem.Fused(precision))
        assert rnn._lstm_cudnn_allow_tf32(CALLS[-1]) == is_tensorfloat32


class OutputBeforeMemory(seqmem.LSTM):
    """An LSTM whose gates have other places in z."""

    def gate(self, state, z):
        i, f, g, o = z
        return super().gate(state, jnp.stack([o, f, g, i]))


class Renamed(seqmem.LSTM):
    """An LSTM of another name."""


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("make_cell", "is_lstm"),
    [
        (seqmem.LSTM, True),
        (Renamed, True),
        (OutputBeforeMemory, False),
        (seqmem.PeepholeLSTM, False),
        (seqmem.SLSTM, False),
        (seqmem.GRU, False),
        (seqmem.RNN, False),
    ],
)
def test_cudnn_runs_an_lstm_and_no_other_cell(make_cell, is_lstm):
    cell, xs = make(make_cell), draw(TIME, BATCH, INPUT)
    clause = METHOD.refusal(cell, xs)
    if is_lstm:
        assert clause is None
        assert METHOD.kernel(cell, xs) == "cuDNN"
    else:
        assert clause is not None
        assert "cuDNN" not in clause


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("precision", "dtype", "clause"),
    [
        ("bfloat16", jnp.float32, "multiplies 'float32' or 'tensorfloat32', not 'bfloat16'"),
        (None, jnp.float32, "multiplies 'float32' or 'tensorfloat32', not None"),
        ("float32", jnp.bfloat16, "is for parameters and a state of float32, not bfloat16"),
    ],
)
def test_precision_and_dtype_are_refused(precision, dtype, clause):
    cell, method = make(dtype=dtype), seqmem.Fused(precision)
    xs = draw(TIME, BATCH, INPUT).astype(dtype)
    assert method.refusal(cell, xs).endswith(f"; cuDNN's LSTM {clause}")
    assert_refused("Fused cannot run LSTM: ", seqmem.unroll, cell, None, xs, method=method)
    assert_refused("Fused cannot run LSTM: ", method.kernel, cell, xs)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("option", "clause"),
    [
        ("resets", "has no resets"),
        ("perturbations", "does not show c of every step, nor its gradient"),
        ("zero perturbations", "does not show c of every step, nor its gradient"),
        ("return_states", "does not show c of every step, nor its gradient"),
    ],
)
def test_what_cudnn_cannot_do_is_refused(option, clause):
    cell, xs = make(), draw(TIME, BATCH, INPUT)
    zeros = jax.tree.map(lambda leaf: jnp.zeros((TIME, BATCH, *leaf.shape)), cell.init_state())
    options = {
        "resets": {"resets": np.zeros((TIME, BATCH), bool)},
        "perturbations": {"perturbations": zeros},
        "zero perturbations": {"perturbations": seqmem.ZeroPerturbations(zeros)},
        "return_states": {"return_states": True},
    }[option]
    message = assert_refused(
        "Fused cannot run LSTM: ", seqmem.solve, cell, None, xs, method=METHOD, **options
    )
    assert f"; cuDNN's LSTM {clause}." in message.splitlines()[0]


@pytest.mark.usefixtures("stand_in")
def test_an_empty_batch_is_refused():
    assert METHOD.refusal(make(), jnp.ones((TIME, 0, INPUT))) == "the batch has no example"


def test_a_machine_without_a_gpu_is_refused_since_jax_cannot_trace_it():
    with seqmem.target_platform("gpu"):
        clause = METHOD.refusal(make(), draw(TIME, BATCH, INPUT))
    assert clause.endswith(
        "; cuDNN's LSTM is traced on a machine with a GPU, and this one has none"
    )


@pytest.mark.parametrize(
    ("version", "clause"),
    [("cuda 13000", None), ("rocm 70000", "cuDNN is for GPUs of NVIDIA")],
)
def test_gpus_of_others_are_refused(monkeypatch, version, clause):
    client = type("Client", (), {"platform_version": version})
    device = type("Device", (), {"client": client})
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    assert cudnn_lstm._refusal_of_device() == clause


@pytest.mark.usefixtures("stand_in")
def test_arrays_of_shapes_alone_say_which_kernel_runs():
    xs = jax.ShapeDtypeStruct((TIME, BATCH, INPUT), jnp.float32)
    assert METHOD.kernel(make(), xs) == "cuDNN"
    with seqmem.target_platform("tpu"):
        assert METHOD.kernel(make(), xs) == "Pallas for TPU"


@needs_tested_jax
@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("precision", "units", "kernel"),
    [
        ("tensorfloat32", 64, "Mosaic GPU for Hopper"),
        ("tensorfloat32", 128, "cuDNN"),
        ("tensorfloat32", 65, "cuDNN"),
        ("float32", 64, "cuDNN"),
        ("bfloat16", 128, "Mosaic GPU for Hopper"),
    ],
)
def test_cudnn_runs_where_the_kernel_for_hopper_does_not(precision, units, kernel):
    cell, xs = make(units=units), draw(TIME, BATCH, INPUT)
    assert seqmem.Fused(precision).kernel(cell, xs) == kernel


@needs_tested_jax
@pytest.mark.usefixtures("stand_in")
def test_kernel_for_hopper_runs_what_cudnn_cannot():
    cell, xs = make(units=64), draw(TIME, BATCH, INPUT)
    run = functools.partial(
        *(seqmem.unroll, cell, None),
        method=seqmem.Fused("tensorfloat32"),
        resets=np.zeros((TIME, BATCH), bool),
    )
    jax.eval_shape(run, xs)
    assert not CALLS
