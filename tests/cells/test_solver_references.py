"""Memories that are read by a solver match the programs of their authors and of
flash-linear-attention.

The reference numbers are in tests/reference/solvers.npz, written by make_solvers.py in that folder.
"""

import functools
import pathlib
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.fast_weights import assert_trees_close

with np.load(pathlib.Path(__file__).parent.parent / "reference" / "solvers.npz") as file:
    REFERENCE = dict(file)
CHUNKS = seqmem.Parallel(chunk_size=8)


class Given(seqmem.AbstractFastWeightCell):
    """A cell whose inputs are writes, read by the solution with the regularisation `ridge`."""

    ridge: Any
    solver: seqmem.AbstractSolver = eqx.field(static=True)

    @property
    def input_shape(self):
        return seqmem.Write(*[(None, None)] * 4)

    def init_state(self):
        size = self.ridge.shape[-1]
        return seqmem.Memory(jnp.zeros((len(self.ridge), 2 * size, size), self.ridge.dtype))

    def project(self, x):
        return x, None

    def read(self, memory, query):
        H, G = memory.split(query.shape[-1])
        return G.read(self.solver.solve(H, self.ridge[:, None], query))

    def output(self, reading, extra):
        return reading


class GivenKalma(Given):
    """x itself: the second half of a write's values and of the state is 0, and it is not read."""

    def read(self, memory, query):
        H, _ = memory.split(query.shape[-1])
        norm = jnp.sqrt(H.squared_norm())
        return self.solver.solve(H, 0.02 * norm, query), norm


def of(name):
    """The arrays of one program, time first."""
    own = {k.removeprefix(f"{name}: "): a for k, a in REFERENCE.items() if k.startswith(name)}
    per_step = {"q", "k", "v", "g", "beta", "weight", "x", "norm"}
    for k, array in own.items():
        if k.split()[-1] in per_step or k.startswith("outputs"):
            own[k] = array.swapaxes(0, 1)
    return own


def mesa_of(solver, method, arrays):
    """Outputs and final states of fla's layout, given its inputs. It solves with h_kk itself."""
    q, k, v, g, lamb, beta, h_kk, h_kv = arrays
    write = seqmem.Write(q, beta[..., None] * k, jnp.concatenate([k, v], -1), g[..., None])
    state = seqmem.Memory(jnp.concatenate([h_kk, h_kv.mT], -2))
    state, ys = seqmem.unroll(Given(lamb, solver), state, write, method=method)
    h_kk, h_kv = jnp.split(state.matrix, 2, -2)
    return ys, h_kk, h_kv.mT


MESA = ("q", "k", "v", "g", "lamb", "beta", "h_kk", "h_kv")


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("solver", [seqmem.ConjugateGradients(5), seqmem.Exact()], ids=repr)
def test_mesa_net_matches_flash_linear_attention(solver):
    own = of("mesa")
    got, pull = jax.vjp(
        jax.jit(functools.partial(mesa_of, solver, CHUNKS)), tuple(own[name] for name in MESA)
    )
    want = own["outputs"], own["final h_kk"], own["final h_kv"]
    assert_trees_close(got, want, 1e-9)
    weights = own["weight"], own["weight of h_kk"], own["weight of h_kv"]
    (grads,) = pull(tuple(map(jnp.asarray, weights)))
    assert_trees_close(grads, tuple(own[f"gradient of {name}"] for name in MESA), 1e-7)


@pytest.mark.usefixtures("float64")
def test_three_steps_of_conjugate_gradients_match_flash_linear_attention():
    own = of("mesa")
    solver = seqmem.ConjugateGradients(3)
    ys, _, _ = jax.jit(functools.partial(mesa_of, solver, CHUNKS))([own[name] for name in MESA])
    np.testing.assert_allclose(ys, own["outputs of three steps"], rtol=0, atol=1e-12)


@pytest.mark.slow
def test_gated_kalma_net_matches_the_program_of_its_authors():
    """Their Triton kernels, interpreted: x, the norm, and the gradients; in float32."""
    own = of("kalma")

    @jax.jit
    def run(q, k, g):
        write = seqmem.Write(q, k, jnp.concatenate([k, 0 * k], -1), g[..., None])
        state = jnp.asarray(own["h_kk"])
        state = seqmem.Memory(jnp.concatenate([state, 0 * state], -2))
        cell = GivenKalma(jnp.ones(q.shape[-2:]), seqmem.Chebyshev(30))
        return seqmem.unroll(cell, state, write, method=CHUNKS)[1]

    (x, norm), pull = jax.vjp(run, own["q"], own["k"], own["g"])
    assert_trees_close((x, norm[..., 0]), (own["x"], own["norm"]), 1e-5)
    grads = pull((jnp.asarray(own["weight"]), jnp.zeros_like(norm)))
    assert_trees_close(grads, tuple(own[f"gradient of {name}"] for name in "qkg"), 1e-4)
