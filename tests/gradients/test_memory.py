"""Bytes: `memory_report` against XLA's own analysis, and lean against a plain scan."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import seqmem

pytestmark = pytest.mark.optimised
key = jax.random.key(0)
T, B, D, H = 1024, 8, 32, 128


def temporaries(loss, cell, shape=(T, B, D)):
    xs = jax.ShapeDtypeStruct(shape, jnp.float32)
    compiled = jax.jit(jax.grad(loss)).lower(cell, xs).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def ours(method=None, remat_every=None):
    def loss(cell, xs):
        _, ys = seqmem.unroll(cell, cell.init_state(), xs, method=method, remat_every=chunk)
        return jnp.sum(ys**2)

    return loss


def equinox_scan(cell, xs):
    def body(state, x):
        state = jax.vmap(cell)(x, state)
        return state, state[0]

    state = jnp.zeros((B, H)), jnp.zeros((B, H))
    return jnp.sum(jax.lax.scan(body, state, xs)[1] ** 2)


@pytest.mark.parametrize("make", [seqmem.LSTM, seqmem.GRU, seqmem.MGU])
@pytest.mark.parametrize(
    ("method", "chunk"),
    [
        (seqmem.Scan(), None),
        (seqmem.Scan(recompute=True), None),
        (seqmem.ReferenceScan(), None),
        (seqmem.Scan(), 64),
    ],
)
def test_the_report_is_within_a_fifth_of_xla(make, method, chunk):
    cell = make(D, H, key=key)
    report = seqmem.memory_report(cell, (T, B, D), method=method, remat_every=chunk)
    assert report.peak == pytest.approx(temporaries(ours(method, chunk), cell), rel=0.2)


def test_lean_takes_a_third_of_a_plain_scan_and_fast_two_thirds():
    plain = temporaries(equinox_scan, eqx.nn.LSTMCell(D, H, key=key))
    cell = seqmem.LSTM(D, H, key=key)
    assert temporaries(ours(seqmem.Scan(recompute=True)), cell) <= plain / 3
    assert temporaries(ours(), cell) <= plain * 2 / 3


def test_with_chunks_what_is_kept_grows_as_time_over_chunk():
    cell = seqmem.LSTM(D, H, key=key)
    state = 2 * 4 * B * H

    def kept(time, chunk):
        return seqmem.memory_report(cell, (time, B, D), remat_every=chunk).kept - 4 * time * B * H

    assert kept(4096, 64) == pytest.approx(4096 / 64 * state, rel=0.1)
    assert kept(4096, 16) == pytest.approx(4096 / 16 * state, rel=0.1)


def test_a_state_larger_than_its_drive_is_not_expanded_over_time():
    """64 channels of 16 entries: the states alone would take 32 MiB, and with a and b 96."""
    found = temporaries(ours(remat_every=64), seqmem.S6(64, 16, key=key), (T, B, 64))
    assert found <= 30 * 2**20


def test_a_report_reads_like_a_sentence():
    report = seqmem.MemoryReport(kept=3 * 2**20, peak=5 * 2**20)
    assert str(report) == "kept 3.0 MiB, peak 5.0 MiB"
