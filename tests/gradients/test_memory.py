"""memory_report against XLA's analysis, and the memory that the methods promise."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import seqmem
from seqmem.gradients import MemoryReport, memory_report
from tests.helpers.slow import slow

pytestmark = pytest.mark.optimised

KEY = jax.random.key(0)
TIME, BATCH, INPUT, HIDDEN = 1024, 8, 32, 128
LEAN = seqmem.Scan(recompute=True)


def inputs(time=TIME, input_size=INPUT):
    return jax.ShapeDtypeStruct((time, BATCH, input_size), jnp.float32)


def analysis_of(loss, model, *args):
    """XLA's analysis of a gradient, without seqmem."""
    return jax.jit(jax.value_and_grad(loss)).lower(model, *args).compile().memory_analysis()


def outputs_loss(cell, xs, method=None, remat_every=None):
    _, ys = seqmem.unroll(cell, None, xs, method=method, remat_every=remat_every)
    return jnp.sum(ys**2)


def final_state_loss(cell, xs, remat_every=None):
    state, _ = seqmem.unroll(cell, None, xs, remat_every=remat_every)
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(state))


def equinox_loss(cell, xs):
    def body(state, x):
        state = jax.vmap(cell)(x, state)
        return state, state[0]

    state = jnp.zeros((BATCH, HIDDEN)), jnp.zeros((BATCH, HIDDEN))
    return jnp.sum(jax.lax.scan(body, state, xs)[1] ** 2)


@functools.cache
def lstm_temporaries(method):
    loss = functools.partial(outputs_loss, method=method)
    return memory_report(loss, seqmem.LSTM(INPUT, HIDDEN, key=KEY), inputs()).temporaries


@pytest.mark.slow
@pytest.mark.parametrize("cell_type", [slow(seqmem.LSTM), slow(seqmem.GRU), seqmem.MGU])
@pytest.mark.parametrize(
    "options",
    [
        slow({}),
        slow({"method": LEAN}),
        {"method": seqmem.ReferenceScan()},
        slow({"remat_every": 64}),
    ],
    ids=str,
)
def test_memory_report_is_the_analysis_of_xla(cell_type, options):
    cell, loss = cell_type(INPUT, HIDDEN, key=KEY), functools.partial(outputs_loss, **options)
    report, analysis = memory_report(loss, cell, inputs()), analysis_of(loss, cell, inputs())
    assert report.temporaries == analysis.temp_size_in_bytes
    assert report.arguments == analysis.argument_size_in_bytes
    assert report.results == analysis.output_size_in_bytes
    parameters = 4 * sum(leaf.size for leaf in jax.tree.leaves(cell))
    assert report.arguments == parameters + 4 * TIME * BATCH * INPUT
    assert parameters + 4 <= report.results < parameters + 256  # the value, and alignment


@pytest.mark.slow
def test_memory_report_of_a_final_state_over_100_000_steps_is_that_of_its_loss():
    """One state every 316 steps, the inputs and one chunk; the outputs do not occur in the loss."""
    time, cell = 100_000, seqmem.RNN(3, 16, key=KEY)
    xs = jax.ShapeDtypeStruct((time, 1, 3), jnp.float32)
    loss = functools.partial(final_state_loss, remat_every=316)
    temporaries = memory_report(loss, cell, xs).temporaries
    assert temporaries == analysis_of(loss, cell, xs).temp_size_in_bytes
    outputs = 4 * time * 16
    assert temporaries < 0.5 * outputs


@pytest.mark.slow
def test_memory_report_takes_tokens_and_further_arguments():
    keys = jax.random.split(KEY)
    model = seqmem.layers.Stack(
        [seqmem.layers.Embedding(11, 3, key=keys[0]), seqmem.RNN(3, 5, key=keys[1])]
    )

    def loss(model, tokens, lengths):
        return jnp.sum(seqmem.unroll(model, None, tokens, lengths=lengths)[1])

    tokens, lengths = jax.ShapeDtypeStruct((7, 2), jnp.int32), jnp.array([7, 4])
    report = memory_report(loss, model, tokens, lengths)
    assert report.temporaries == analysis_of(loss, model, tokens, lengths).temp_size_in_bytes


@pytest.mark.slow
def test_scan_takes_two_thirds_of_a_plain_scan_and_with_recomputation_one_third():
    plain_scan = memory_report(
        equinox_loss, eqx.nn.LSTMCell(INPUT, HIDDEN, key=KEY), inputs()
    ).temporaries
    assert lstm_temporaries(LEAN) <= plain_scan / 3
    assert lstm_temporaries(None) <= plain_scan * 2 / 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell_type", "remat_every"), [(seqmem.RNN, 16), slow(seqmem.LSTM, 16), slow(seqmem.LSTM, 64)]
)
def test_memory_with_remat_grows_by_one_state_per_chunk(cell_type, remat_every):
    cell = cell_type(1, HIDDEN, key=KEY)
    loss = functools.partial(final_state_loss, remat_every=remat_every)
    short, long = (
        memory_report(loss, cell, inputs(time, input_size=1)).temporaries for time in (4096, 8192)
    )
    state_size = sum(leaf.size for leaf in jax.tree.leaves(cell.init_state()))
    states, xs = 4096 / remat_every * 4 * BATCH * state_size, 4 * 4096 * BATCH
    assert 0.9 * states <= long - short <= 1.1 * (states + xs)


@pytest.mark.slow
def test_state_larger_than_its_drive_is_not_expanded_over_time():
    """64 channels of 16 entries: the states alone would take 32 MiB, and with a and b 96."""
    cell, loss = seqmem.S6(64, 16, key=KEY), functools.partial(outputs_loss, remat_every=64)
    assert memory_report(loss, cell, inputs(input_size=64)).temporaries <= 30 * 2**20


def test_memory_report_is_printed_in_mebibytes():
    report = MemoryReport(temporaries=3 * 2**20, arguments=5 * 2**20, results=2**19)
    assert str(report) == "temporaries 3.0 MiB, arguments 5.0 MiB, results 0.5 MiB"


def test_memory_report_without_an_analysis_is_refused(monkeypatch):
    monkeypatch.setattr(jax.stages.Compiled, "memory_analysis", lambda compiled: None)
    with pytest.raises(ValueError, match=r"(?s)no memory.*Expected: .*What to do: "):
        memory_report(jnp.sum, jnp.ones(3))
