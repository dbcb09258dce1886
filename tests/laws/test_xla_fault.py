"""A fault of XLA: up to jaxlib 0.11.0 XLA:CPU compiles a plain loop wrongly.

In float64, `vmap(grad(...))` over the parameters of a plain `lax.scan` LSTM of tiny sizes is off by
40 %, on some processors; H = 5 and B = 4 matter. `--xla_cpu_use_fusion_emitters=false` is right,
and so is jaxlib 0.11.1. The program does not use seqmem.
"""

import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmem._testing.compiler import compiler_is_suspect

pytestmark = pytest.mark.optimised

TIME, BATCH, INPUT, HIDDEN, MEMBERS = 7, 4, 3, 5, 3


def loss(parameters, xs):
    W, U, b = parameters

    def one(h, c, x):
        i, f, g, o = jnp.split(W @ x + b + U @ h, 4)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return jax.nn.sigmoid(o) * jnp.tanh(c), c

    def step(state, x):
        h, c = jax.vmap(one)(*state, x)
        return (h, c), h

    zeros = jnp.zeros((BATCH, HIDDEN))
    return jnp.sum(jnp.sin(jax.lax.scan(step, (zeros, zeros), xs)[1]))


def error():
    """How far the gradients of an ensemble are from those of its members, without jit."""
    rng = np.random.default_rng(0)
    shapes = ((4 * HIDDEN, INPUT), (4 * HIDDEN, HIDDEN), (4 * HIDDEN,))
    ensemble = tuple(rng.normal(size=(MEMBERS, *shape)) for shape in shapes)
    xs = rng.normal(size=(TIME, BATCH, INPUT))
    together = jax.jit(jax.vmap(jax.grad(loss), (0, None)))(ensemble, xs)
    worst = 0.0
    for member in range(MEMBERS):
        with jax.disable_jit():
            alone = jax.grad(loss)(jax.tree.map(lambda leaf: leaf[member], ensemble), xs)  # noqa: B023
        for got, want in zip(together, alone, strict=True):
            worst = max(worst, np.max(np.abs(got[member] - want)) / np.max(np.abs(want)))
    return worst


@pytest.mark.slow
def test_ensemble_of_loops_is_compiled_correctly(float64):
    """With the flag that conftest.py sets on the versions that need it."""
    assert error() < 1e-12


@pytest.mark.slow
def test_ensemble_of_loops_is_compiled_correctly_without_flags():
    folder = str(pathlib.Path(__file__).parent)
    code = (
        f"import sys; sys.path.insert(0, {folder!r}); import test_xla_fault as t; print(t.error())"
    )
    changed = {"XLA_FLAGS", "JAX_DISABLE_MOST_OPTIMIZATIONS"}
    environment = {name: value for name, value in os.environ.items() if name not in changed}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"JAX_ENABLE_X64": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    if float(done.stdout) > 1e-12 and compiler_is_suspect():
        pytest.xfail(f"jaxlib's known fault: off by {float(done.stdout):.1g}")
    assert float(done.stdout) < 1e-12
