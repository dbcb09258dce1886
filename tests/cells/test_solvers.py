"""Memories that are read by a solver: exact results, gradients, zeros, strong decays, rounding."""

import functools
import types
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem._cells.fast_weights.gated_kalma_net import kalma_readings
from seqmem._cells.fast_weights.solvers import frobenius_norm
from tests.helpers.fast_weights import assert_trees_close
from tests.helpers.slow import slow

TIME, BATCH, INPUT, HEADS, KEY, VALUE = 23, 3, 2, 2, 5, 3
CHUNKS = seqmem.Parallel(chunk_size=8)
key = jax.random.key(3)


def mesa_net(solver, dtype=np.float64):
    cell = seqmem.MesaNet(
        INPUT, HEADS * VALUE, num_heads=HEADS, key_size=KEY, solver=solver, key=key
    )
    ridge = np.random.default_rng(1).normal(size=cell.ridge.shape)
    cell = eqx.tree_at(lambda cell: cell.ridge, cell, jnp.asarray(ridge))
    return seqmem.as_precision(cell, jnp.dtype(dtype))


def gated_kalma_net(solver, dtype=np.float64):
    sizes = {"num_heads": HEADS, "key_size": KEY, "ridge": 0.5}
    cell = seqmem.GatedKalmaNet(INPUT, HEADS * VALUE, **sizes, solver=solver, key=key)
    return seqmem.as_precision(cell, jnp.dtype(dtype))


def draw_inputs(time=TIME):
    return jnp.asarray(np.random.default_rng(5).normal(size=(time, BATCH, INPUT)))


def draw_resets():
    resets = np.zeros((TIME, BATCH), bool)
    resets[[0, 5, 8, 16], 1] = True
    resets[[7, 9], 2] = True
    return jnp.asarray(resets)


def loss_of(method, cell, xs):
    state, ys = seqmem.unroll(cell, None, xs, resets=draw_resets(), method=method)
    weights = np.random.default_rng(2).normal(size=ys.shape)
    return (weights * ys).sum() + jnp.sin(state.matrix).sum()


outputs = jax.jit(
    lambda method, cell, xs: seqmem.unroll(cell, None, xs, resets=draw_resets(), method=method)[1],
    static_argnums=0,
)
gradients = jax.jit(jax.grad(loss_of, argnums=(1, 2)), static_argnums=0)


def solved_by_numpy(cell, xs):
    """The outputs of a MesaNet, by `numpy.linalg.solve` at every step."""
    ys, resets = np.zeros((TIME, BATCH, HEADS * VALUE)), np.asarray(draw_resets())
    Lambda = 0.25 + np.logaddexp(0, cell.ridge)
    writes = jax.vmap(jax.vmap(cell.project))(xs)[0]
    for i in range(BATCH):
        S = np.zeros((HEADS, KEY + VALUE, KEY))
        for t in range(TIME):
            write = jax.tree.map(lambda leaf, t=t, i=i: np.asarray(leaf[t, i]), writes)
            S = np.zeros_like(S) if resets[t, i] else S
            S = np.exp(write.log_decay)[..., None] * S
            S = S + write.value[..., None] * write.key[..., None, :]
            x = [
                np.linalg.solve(S[h, :KEY] + np.diag(Lambda[h]), write.query[h])
                for h in range(HEADS)
            ]
            ys[t, i] = np.concatenate([S[h, KEY:] @ x[h] for h in range(HEADS)])
    return ys


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("method", [slow(seqmem.Scan()), CHUNKS], ids=repr)
@pytest.mark.parametrize(
    ("solver", "tolerance"),
    [
        slow(seqmem.Exact(), 1e-9),
        (seqmem.ConjugateGradients(KEY), 1e-9),
        slow(seqmem.ConjugateGradients(4 * KEY), 1e-9),
        slow(seqmem.Chebyshev(200), 1e-9),
    ],
    ids=repr,
)
def test_solution_is_that_of_numpy(solver, tolerance, method):
    cell, xs = mesa_net(solver), draw_inputs()
    ys = outputs(method, cell, xs)
    np.testing.assert_allclose(ys, solved_by_numpy(cell, xs), rtol=0, atol=tolerance)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("make", [mesa_net, gated_kalma_net])
@pytest.mark.parametrize(
    "solver", [seqmem.ConjugateGradients(KEY), seqmem.ConjugateGradients(30), seqmem.Chebyshev(200)]
)
def test_gradient_is_that_of_the_exact_solution(solver, make):
    """Also where conjugate gradients have converged many steps before the last one."""
    xs = draw_inputs()
    want = gradients(seqmem.ReferenceScan(), make(seqmem.Exact()), xs)
    got = gradients(CHUNKS, make(solver), xs)
    assert_trees_close(jax.tree.leaves(got), jax.tree.leaves(want), 1e-7)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("make", [mesa_net, gated_kalma_net])
def test_gradient_of_the_exact_solution_is_a_difference_quotient(make):
    cell, xs = make(seqmem.Exact()), draw_inputs()
    direction = jax.tree.map(jnp.cos, (cell, xs))

    @jax.jit
    def loss_along(size):
        return loss_of(
            CHUNKS, *jax.tree.map(lambda leaf, d: leaf + size * d, (cell, xs), direction)
        )

    slope = jax.jit(jax.grad(loss_along))(0.0)
    h = 1e-4
    quotient = (8 * (loss_along(h) - loss_along(-h)) - loss_along(2 * h) + loss_along(-2 * h)) / 12
    np.testing.assert_allclose(quotient / h, slope, rtol=1e-8)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("make", "solver"),
    [
        (mesa_net, seqmem.ConjugateGradients(30)),
        (gated_kalma_net, seqmem.ConjugateGradients(30)),
        (gated_kalma_net, seqmem.Chebyshev(3)),
    ],
)
def test_queries_and_memories_of_zero_have_finite_gradients(make, solver):
    """Inputs of 0 make queries, keys and values of 0: the memory is empty, then it decays."""
    xs = draw_inputs().at[:5].set(0).at[10:].set(0)
    assert np.isfinite(outputs(CHUNKS, make(solver), xs)).all()
    leaves = jax.tree.leaves(gradients(CHUNKS, make(solver), xs))
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    assert all(np.abs(leaf).max() > 0 for leaf in leaves)


def test_norm_of_an_empty_memory_has_a_derivative_of_0():
    def norm(square):
        return frobenius_norm(types.SimpleNamespace(squared_norm=lambda: square))

    norms, slopes = jax.vmap(jax.value_and_grad(norm))(jnp.array([0.0, 4.0]))
    np.testing.assert_array_equal(norms, [0, 2])
    np.testing.assert_array_equal(slopes, [0, 0.25])


def test_memory_of_any_size_has_finite_gradients_in_float32():
    """[H; U] = n [k; v] kᵀ for n from 10⁻⁴⁰ to 1: below 10⁻¹⁹ the square of ‖H‖ leaves float32."""
    k, v, query = np.ones((1, 3)) / 3**0.5, np.full((1, 2), 1e6), jnp.ones((1, 1, 3), np.float32)
    matrix = np.concatenate([k, v], 1)[..., None] * k[:, None]

    def total(matrix):
        readings = kalma_readings(seqmem.MemoryView(matrix), query, 0.5, seqmem.Chebyshev(30))
        return sum(reading.sum() for reading in readings)

    matrices = 10.0 ** np.arange(-40, 1)[:, None, None, None] * matrix
    assert np.isfinite(jax.jit(jax.vmap(jax.grad(total)))(matrices.astype(np.float32))).all()


@pytest.mark.slow
@pytest.mark.parametrize("make", [mesa_net, gated_kalma_net])
@pytest.mark.parametrize("solver", [seqmem.ConjugateGradients(30), seqmem.Chebyshev(30)])
def test_parameters_of_16_bits_keep_states_of_32(solver, make):
    """A thousand steps: the outputs are those of float32 with the same parameters and inputs."""
    xs = np.random.default_rng(5).normal(size=(1000, BATCH, INPUT))
    narrow = make(solver, jnp.bfloat16)
    assert narrow.init_state().matrix.dtype == jnp.float32
    wide = seqmem.as_precision(narrow, jnp.dtype(jnp.float32))
    xs = jnp.asarray(xs, jnp.bfloat16)
    got, want = (
        np.asarray(seqmem.unroll(cell, None, xs.astype(cell.W_q.dtype))[1], np.float32)
        for cell in (narrow, wide)
    )
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, want, rtol=0, atol=0.1 * np.abs(want).max())


@pytest.mark.slow
@pytest.mark.optimised
def test_gradient_keeps_nothing_of_the_solvers_steps():
    """Temporaries of a gradient with 100 steps are those with 10."""
    xs = jax.ShapeDtypeStruct((512, 4, INPUT), jnp.float32)

    def temporaries(steps):
        cell = mesa_net(seqmem.ConjugateGradients(steps), np.float32)

        def loss(cell, xs):
            return seqmem.unroll(cell, None, xs)[1].sum()

        compiled = jax.jit(jax.grad(loss)).lower(cell, xs).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporaries(100) <= 1.01 * temporaries(10)


class GivenDecay(seqmem.AbstractFastWeightCell):
    """A cell whose log-decays are given with the inputs."""

    cell: seqmem.AbstractFastWeightCell
    input_shape: ClassVar[Any] = ((INPUT,), (HEADS, 1))

    def init_state(self):
        return self.cell.init_state()

    def project(self, x):
        write, extra = self.cell.project(x[0])
        return write._replace(log_decay=x[1]), extra

    def read(self, memory, query):
        return self.cell.read(memory, query)

    def output(self, reading, extra):
        return self.cell.output(reading, extra)


STRONG = {
    "−10": lambda rng, shape: np.full(shape, -10.0),
    "0 and −1000": lambda rng, shape: rng.choice([0.0, -1000.0], shape),
    "0 and −∞": lambda rng, shape: rng.choice([0.0, -np.inf], shape),
}


@pytest.mark.slow
@pytest.mark.parametrize("make", [mesa_net, gated_kalma_net])
@pytest.mark.parametrize("draw_log_decay", STRONG)
def test_strong_decays_lose_no_digit_in_single_precision(draw_log_decay, make):
    rng = np.random.default_rng(7)
    cell = GivenDecay(make(seqmem.ConjugateGradients(30), np.float32))
    xs = rng.normal(size=(200, BATCH, INPUT)), STRONG[draw_log_decay](rng, (200, BATCH, HEADS, 1))
    xs = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), xs)

    @functools.partial(jax.jit, static_argnums=0)
    def run(method, cell, xs):
        out, pull = jax.vjp(
            lambda *args: seqmem.unroll(args[0], None, args[1], method=method), cell, xs
        )
        return out, pull(jax.tree.map(jnp.cos, out))

    want = run(seqmem.ReferenceScan(), cell, xs)
    assert_trees_close(run(seqmem.Parallel(chunk_size=64), cell, xs), want, 1e-5)


def test_steps_after_convergence_change_nothing():
    """Of 300 steps in single precision, where residuals would underflow after some 30."""
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.normal(size=(200, KEY, KEY)))[0]
    H = (Q * 10.0 ** rng.uniform(-2, 0, (200, 1, KEY))) @ Q.swapaxes(-1, -2)
    query = rng.normal(size=(200, 1, KEY)) * 10.0 ** rng.integers(-30, 30, (200, 1, 1))
    args = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), (H, np.full((1, KEY), 1e-3), query))

    @functools.partial(jax.jit, static_argnums=0)
    def solve(steps, H, ridge, query):
        return seqmem.ConjugateGradients(steps).solve(seqmem.MemoryView(H), ridge, query)

    np.testing.assert_array_equal(solve(300, *args), solve(30, *args))
