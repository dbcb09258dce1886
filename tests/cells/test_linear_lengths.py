"""Linear recurrences all steps at once: every length, resets at the borders of chunks, a learned
initial state, and strong decays in float32, against one step after another.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.slow import slow_but

INPUT, HIDDEN, BATCH = 2, 3, 2
LENGTHS = (0, 1, 2, 15, 16, 17, 63, 64, 65, 200)
KEY = jax.random.key(0)
CELLS = {
    "LinOSSIM": lambda: seqmem.LinOSSIM(INPUT, HIDDEN, key=KEY),
    "LinOSSIMEX": lambda: seqmem.LinOSSIMEX(INPUT, HIDDEN, key=KEY),
    "DLinOSS": lambda: seqmem.DLinOSS(INPUT, HIDDEN, key=KEY),
    "RTU": lambda: seqmem.RTU(INPUT, HIDDEN, activation=jnp.tanh, key=KEY),
    "SHM": lambda: seqmem.SHM(INPUT, HIDDEN, key=KEY),
}


def with_random_learned_state(cell):
    rng = np.random.default_rng(3)
    state = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), cell.init_state()
    )
    return seqmem.with_learned_state(cell, state)


def sequences(time):
    """Inputs, and resets at the borders of chunks of 16 and 64 steps and at the steps beside."""
    rng = np.random.default_rng(time)
    resets = np.isin(np.arange(time)[:, None] % 64, [0, 15, 16, 17]) & (rng.random((time, 2)) < 0.5)
    return jnp.asarray(rng.normal(size=(time, BATCH, INPUT))), jnp.asarray(resets)


def weighted_sum(leaf):
    weights = jnp.cos(jnp.arange(leaf.size, dtype=leaf.real.dtype)).reshape(leaf.shape)
    return jnp.sum(weights * (leaf.real + 2 * leaf.imag))


@functools.partial(jax.jit, static_argnames="method")
def results(cell, xs, resets, lengths=None, *, method):
    """State, outputs, and the gradients of both by the parameters and the inputs."""

    def loss(cell, xs):
        state, ys = seqmem.unroll(cell, None, xs, resets=resets, lengths=lengths, method=method)
        return sum(map(weighted_sum, jax.tree.leaves((state, ys)))), (state, ys)

    grads, out = jax.grad(loss, (0, 1), has_aux=True)(cell, xs)
    return grads, out


def compare(cell, time, rtol):
    """The loop runs over all lengths with one program, to the end of each."""
    xs, resets = sequences(time)
    got = results(cell, xs.astype(seqmem.precision(cell)), resets, method=seqmem.Parallel())
    cell = seqmem.as_precision(cell, jnp.float64)
    padded_xs, padded_resets = (
        jnp.pad(leaf, [(0, LENGTHS[-1] - time), *[(0, 0)] * (leaf.ndim - 1)])
        for leaf in (xs, resets)
    )
    lengths = jnp.full(BATCH, time)
    want = results(cell, padded_xs, padded_resets, lengths, method=seqmem.ReferenceScan())
    (d_cell, d_xs), (state, ys) = want
    want = (d_cell, d_xs[:time]), (state, ys[:time])
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        scale = max(1.0, np.abs(b).max(initial=0.0))
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * scale)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("name", "time"),
    slow_but({("DLinOSS", 17)}, [(name, time) for name in CELLS for time in LENGTHS]),
)
def test_all_steps_at_once_match_one_after_another(name, time):
    compare(with_random_learned_state(CELLS[name]()), time, 1e-9)


def with_log_decays(name):
    """A cell of float32 that keeps all, and one that keeps less than the least number."""
    cell = CELLS[name]()
    if name == "RTU":  # log-decays of about 0, −10 and −1000
        return eqx.tree_at(lambda cell: cell.nu, cell, jnp.log(jnp.array([1e-7, 10.0, 1000.0])))
    if name == "SHM":  # the calibration is 0, 1 or 2
        return eqx.tree_at(lambda cell: cell.theta, cell, jnp.array([-1e4, 0.0, 1e4]))
    cell = eqx.tree_at(lambda cell: cell.A, cell, jnp.array([0.0, 1.0, 1e6]))
    if name == "DLinOSS":
        cell = eqx.tree_at(lambda cell: cell.G, cell, jnp.array([0.0, 1e3, 1e12]))
    return cell


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ["LinOSSIM", "DLinOSS", "RTU", "SHM"])
def test_strong_decays_are_exact_in_float32(name):
    cell = seqmem.as_precision(with_log_decays(name), jnp.float32)
    compare(with_random_learned_state(cell), 65, 1e-5)
