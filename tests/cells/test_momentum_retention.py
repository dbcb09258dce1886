"""What is left, after each step of a chunk, of a memory with momentum."""

import jax
import numpy as np

import seqmem
from seqmem._cells.fast_weights.chunkwise.momentum import retention_with_momentum

STEPS, KEY, VALUE = 5, 2, 3


def test_rows_of_both_sizes_read_what_is_left_of_memory_and_momentum():
    rng = np.random.default_rng(3)
    log_decay, log_momentum = np.log(rng.uniform(0.3, 0.9, (2, STEPS, 1))).astype("float32")
    S, M = rng.normal(size=(2, VALUE, KEY)).astype("float32")
    keys, values = (rng.normal(size=(STEPS, n)).astype("float32") for n in (KEY, VALUE))
    write = seqmem.Write(keys, keys, values, log_decay)
    start = np.hstack([S, M])

    @jax.jit
    def read(write, log_momentum):
        retention = retention_with_momentum(write, log_momentum, None)
        rows, _ = retention.read_start(keys)
        return rows @ start.T, retention.columns_of_start(values, values @ start)

    of_keys, of_values = read(write, log_momentum)
    for t in range(STEPS):
        M = np.exp(log_momentum[t]) * M
        S = np.exp(log_decay[t]) * S + M
        np.testing.assert_allclose(of_keys[t], S @ keys[t], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(of_values[t], values[t] @ S, rtol=1e-4, atol=1e-5)
