"""`check_op` on functions of JAX: scans, cells of seqmem, and faults that need JAX."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem._testing.ops import number_laws, sequence_laws, value_laws
from seqmem._testing.ops.subject import Broken, OpSubject
from seqmem.testing import KernelOp, NumpyFunction, ScanOp, check_op, report_op
from tests.helpers.scans import SCAN_FAULTS, SIZE, leaky_sum, scan_op

LAWS = {
    "gradients": value_laws.gradients,
    "NaN across segments": sequence_laws.nan_across_segments,
    "padding": sequence_laws.padding,
    "determinism": number_laws.determinism,
}


@pytest.mark.parametrize("fault", SCAN_FAULTS)
def test_law_by_itself_catches_a_faulty_scan(fault):
    law, flags = SCAN_FAULTS[fault]
    subject = OpSubject(scan_op(fault, flags=flags), 0, 8)
    with pytest.raises(Broken):
        LAWS[law](subject)


def test_laws_of_sequences_pass_a_correct_scan():
    subject = OpSubject(scan_op(leaky_sum, flags=("lengths", "resets")), 0, 8)
    sequence_laws.segments(subject)
    sequence_laws.nan_across_segments(subject)
    sequence_laws.padding(subject)


@pytest.mark.slow
@pytest.mark.parametrize("fault", SCAN_FAULTS)
def test_check_op_names_the_law_that_a_scan_breaks(fault):
    law, flags = SCAN_FAULTS[fault]
    report = report_op(scan_op(fault, flags=flags), long_time=16)
    assert report.laws("broken")[:1] == (law,), str(report)


@pytest.mark.slow
@pytest.mark.parametrize("dtypes", [("float64",), ("float32", "bfloat16")])
@pytest.mark.parametrize("has_step", [True, False])
def test_check_op_passes_a_correct_scan(dtypes, has_step):
    fields = {"dtypes": dtypes, "flags": ("lengths", "resets")}
    if not has_step:
        fields["step"] = None
    narrow = (
        scan_op(_in_float32, **fields) if "bfloat16" in dtypes else scan_op(leaky_sum, **fields)
    )
    report = check_op(narrow, long_time=32)
    expected = {"strong decay"} | ({"dtypes"} if len(dtypes) == 1 else set())
    assert set(report.laws("not offered")) == expected | (set() if has_step else {"one step"})


def _in_float32(a, h, xs, **flags):
    """A sum in float32, of inputs in any dtype."""
    ys, h = leaky_sum(a.astype(h.dtype), h, xs.astype(h.dtype), **flags)
    return ys.astype(xs.dtype), h


def unroll(cell, state, xs, method, **flags):
    state, ys = seqmem.unroll(cell, state, xs, method=method, **flags)
    return ys, state


def step(cell, state, x):
    state, y = cell(state, x)
    return y, state


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell_type", "method"),
    [
        (seqmem.LSTM, seqmem.Scan()),
        (seqmem.GRU, seqmem.ReferenceScan()),
        (functools.partial(seqmem.KDA, num_heads=2), seqmem.Parallel(chunk_size=3)),
        (seqmem.MinGRU, seqmem.Parallel()),
    ],
    ids=["LSTM", "GRU", "KDA", "MinGRU"],
)
def test_cell_of_seqmem_is_a_scan_that_keeps_every_law(cell_type, method):
    cell = cell_type(3, 4, key=jax.random.key(0))
    op = ScanOp(
        functools.partial(unroll, method=method),
        params=cell,
        state=cell.init_state(),
        x=np.zeros(3, np.float32),
        step=step,
        flags=("lengths", "resets"),
        dtypes=("float64",),
    )
    check_op(op, long_time=24)


def test_scan_may_have_its_batch_first_or_none():
    def batch_first(a, h, xs):
        ys, h = leaky_sum(a, h, xs.swapaxes(0, 1))
        return ys.swapaxes(0, 1), h

    def without_batch(a, h, xs):
        ys, h = leaky_sum(a, h[None], xs[:, None])
        return ys[:, 0], h[0]

    for function, layout in ((batch_first, "BT"), (without_batch, "T")):
        subject = OpSubject(scan_op(function, layout=layout), 0, 8)
        value_laws.gradients(subject)
        value_laws.final_state(subject)


def test_scan_of_a_tree_with_integers_keeps_its_laws():
    def step(params, state, x):
        total = state["total"] + params["scale"] * x["value"] * x["token"]
        return {"y": jnp.sin(total)}, {"total": total, "count": state["count"] + 1}

    def scan(params, state, xs):
        run = jax.vmap(lambda state, x: step(params, state, x))
        state, ys = jax.lax.scan(lambda s, x: run(s, x)[::-1], state, xs)
        return ys, state

    op = ScanOp(
        scan,
        params={"scale": jnp.ones(SIZE), "activation": jnp.sin},
        state={"total": jnp.zeros(SIZE), "count": jnp.zeros((), int)},
        x={"value": jnp.zeros(SIZE), "token": jnp.array(4)},
        step=step,
        dtypes=("float64",),
    )
    subject = OpSubject(op, 0, 8)
    for law in (value_laws.values, value_laws.final_state, value_laws.gradients):
        law(subject)


def test_scan_in_numpy_has_its_laws_without_gradients():
    def forward(a, h, xs):
        ys = []
        for x in xs:
            h = a * h + x
            ys.append(h)
        return np.stack(ys), h

    op = scan_op(NumpyFunction(forward), step=None)
    report = check_op(op, long_time=16)
    assert report["splitting"].outcome == "holds"
    assert report["gradients"].outcome == "not offered"


def naive_delta(q, k, v, beta, initial_state=None):
    """The delta rule in the axes of flash-linear-attention, [batch, time, heads, channel]."""
    batch, _, heads, key = k.shape
    S = jnp.zeros((batch, heads, key, v.shape[-1]), jnp.float32)
    S = S if initial_state is None else initial_state

    def body(S, step):
        q, k, v, beta = step
        u = beta[..., None] * (v - jnp.einsum("bhk,bhkv->bhv", k, S))
        S = S + k[..., None] * u[..., None, :]
        return S, jnp.einsum("bhk,bhkv->bhv", q, S) * key**-0.5

    steps = jax.tree.map(lambda x: x.swapaxes(0, 1).astype(jnp.float32), (q, k, v, beta))
    S, o = jax.lax.scan(body, S, steps)
    return o.swapaxes(0, 1).astype(v.dtype), S


@pytest.mark.slow
def test_check_op_passes_a_naive_kernel_in_bfloat16():
    op = KernelOp(naive_delta, "delta", dtypes=("float32", "bfloat16"))
    assert check_op(op)["dtypes"].outcome == "holds"
