"""Which runs are cuDNN's; what it cannot do is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem._methods.fused import cudnn_lstm, hopper_limits
from tests.helpers.cudnn import BATCH, CALLS, INPUT, METHOD, TIME, draw, make, stand_in as stand_in
from tests.helpers.refusals import assert_refused

needs_tested_jax = pytest.mark.skipif(
    jax.__version__ not in hopper_limits.TESTED_VERSIONS,
    reason=f"the kernels for Hopper were not tested with JAX {jax.__version__}",
)


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
