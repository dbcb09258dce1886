"""Oscillators: the eigenvalues of their steps, exact also where these are equal; other programs."""

import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.interop import from_linoss, to_linoss
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow_but
from tests.helpers.unrolling import normal

KEY = jax.random.key(0)
REFERENCE = pathlib.Path(__file__).parent.parent / "reference" / "oscillators.npz"
CELLS = {
    "LinOSSIM": seqmem.LinOSSIM,
    "LinOSSIMEX": seqmem.LinOSSIMEX,
    "DLinOSS": seqmem.DLinOSS,
}


def logit(p):
    return np.log(p / (1 - p))


def with_oscillators(cell, **parameters):
    """The cell with other parameters of its oscillators."""
    for name, values in parameters.items():
        leaf = getattr(cell, name)
        values = jnp.broadcast_to(jnp.asarray(values, leaf.dtype), leaf.shape)
        cell = eqx.tree_at(lambda cell, name=name: getattr(cell, name), cell, values)
    return cell


def eigenvalues(cell):
    """Those of a step of each oscillator; without input a step is linear."""
    drive, zero = cell.project(jnp.zeros(cell.input_shape)), cell.init_state()
    ones = jnp.ones_like(zero.z)
    columns = cell.update(zero._replace(z=ones), drive), cell.update(zero._replace(y=ones), drive)
    M = np.array([[np.asarray(column[row][0]) for column in columns] for row in range(2)])
    return np.linalg.eigvals(M.transpose(2, 0, 1))


def moduli(cell):
    """|λ| of each oscillator, in order."""
    return np.sort(np.abs(eigenvalues(cell)), axis=-1)


@pytest.mark.usefixtures("float64")
def test_implicit_explicit_steps_keep_energy_up_to_their_limit():
    """Moduli 1 for Δ² A < 4; for Δ = ½ and A = 17 they are 0.6096 and 1.6404."""
    cell = seqmem.LinOSSIMEX(2, 5, key=KEY)
    cell = with_oscillators(cell, A=[0.1, 1.0, 4.0, 15.9, 17.0], delta=logit(0.5))
    got = moduli(cell)
    np.testing.assert_allclose(got[:4], 1.0, rtol=1e-12)
    trace = 2 - 0.25 * 17
    root = np.sqrt(trace**2 / 4 - 1)
    np.testing.assert_allclose(got[4], [-trace / 2 - root, -trace / 2 + root], rtol=1e-12)
    np.testing.assert_allclose(got[4], [0.6096, 1.6404], atol=5e-5)


@pytest.mark.usefixtures("float64")
def test_implicit_steps_shrink_by_the_root_of_one_plus_their_stiffness():
    cell = with_oscillators(seqmem.LinOSSIM(2, 3, key=KEY), A=[0.0625, 1.0, 4.0], delta=logit(0.5))
    A = np.array([0.0625, 1.0, 4.0])
    np.testing.assert_allclose(moduli(cell), np.repeat(1 / np.sqrt(1 + A / 4), 2).reshape(3, 2))
    np.testing.assert_allclose(moduli(cell)[1:, 0], [0.894427, 0.707107], atol=5e-7)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_damped_steps_start_on_the_ring_and_never_leave_the_disc():
    cell = seqmem.DLinOSS(2, 500, r_min=0.5, r_max=0.8, max_phase=1.5, key=KEY)
    phases = np.abs(np.angle(eigenvalues(cell)))
    assert 0 < phases.min() < 0.05
    assert 1.45 < phases.max() < 1.5
    at_start = moduli(cell)
    np.testing.assert_allclose(at_start[:, 0], at_start[:, 1], rtol=1e-6)
    assert 0.5 <= at_start.min() < 0.55
    assert 0.75 < at_start.max() < 0.8
    A, G, delta = 30 * normal(3, 500)
    changed = moduli(with_oscillators(cell, A=A, G=G, delta=delta / 30))
    assert changed.max() <= 1 + 1e-6


def with_equal_eigenvalues(name):
    """A cell whose first four oscillators cannot be diagonalised."""
    cell = CELLS[name](2, 5, key=KEY)
    if (
        name == "LinOSSIM"
    ):  # only free particles: an implicit step has complex eigenvalues otherwise
        return with_oscillators(cell, A=[0.0, 0.0, -1.0, -1.0, 1.0])
    if name == "LinOSSIMEX":  # free particles, and Δ² A = 4
        return with_oscillators(cell, A=[0.0, -1.0, 16.0, 16.0, 1.0], delta=0.0)
    return with_oscillators(cell, A=[-1.0, -1.0, 1e3, 1e3, 1.0], G=[-1.0, 1.0, 0.0, 1.0, 1.0])


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", slow_but({}, CELLS))
def test_steps_with_equal_eigenvalues_are_exact_in_parallel(name):
    cell, xs = with_equal_eigenvalues(name), jnp.asarray(normal(23, 2))
    blocks = moduli(cell)
    np.testing.assert_allclose(blocks[:4, 0], blocks[:4, 1], rtol=1e-6)

    def loss(cell, xs, method):
        state, ys = seqmem.unroll(cell, None, xs, method=method)
        return jnp.sin(ys).sum() + jnp.sin(state.z).sum()

    compute = jax.jit(jax.value_and_grad(loss, (0, 1)), static_argnums=2)
    got = compute(cell, xs, seqmem.Parallel(chunk_size=4))
    want = compute(cell, xs, seqmem.ReferenceScan())
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("ring", [(0.0, 0.9), (0.9, 0.9), (0.9, 1.1)])
def test_damped_oscillators_refuse_a_ring_outside_of_the_disc(ring):
    r_min, r_max = ring
    assert_refused(
        f"DLinOSS got r_min={r_min}, r_max={r_max}",
        *(seqmem.DLinOSS, 2, 5),
        r_min=r_min,
        r_max=r_max,
        key=KEY,
    )


class Uneven(seqmem.AbstractBlockDiagonalCell):
    """A state of two arrays that have no common places."""

    def init_state(self):
        return jnp.zeros(3), jnp.zeros(2)

    def project(self, x):
        raise AssertionError("traced")

    def update(self, state, drive):
        return state

    def readout(self, state, drive):
        return state


def test_block_diagonal_cell_with_arrays_of_two_shapes_is_refused_before_tracing():
    assert_refused(
        "the state of Uneven, a block-diagonal cell, is float32[2], float32[3].",
        *(seqmem.unroll, Uneven(), None, jnp.ones((5, 2))),
    )


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", slow_but({"DLinOSS"}, CELLS))
def test_outputs_and_gradients_match_other_programs(name):
    with np.load(REFERENCE) as file:
        xs, weight = file["xs"], file["weight"]
        arrays = {
            own.removeprefix(f"{name}: "): file[own] for own in file if own.startswith(f"{name}: ")
        }
    gradients = {
        own.removeprefix("gradient of "): array
        for own, array in arrays.items()
        if own.startswith("gradient of ")
    }
    params = {own: arrays[own] for own in gradients if own != "xs"}

    def loss(params, xs):
        ys = seqmem.unroll(from_linoss(params, CELLS[name]), None, xs)[1]
        return (weight * ys).sum(), ys

    args = params, jnp.asarray(xs)
    (d_params, d_xs), ys = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(*args)
    np.testing.assert_allclose(ys, arrays["ys"], rtol=1e-11, atol=1e-12)
    for own, got in (d_params | {"xs": d_xs}).items():
        np.testing.assert_allclose(got, gradients[own], rtol=1e-10, atol=1e-11, err_msg=own)
    ours = from_linoss(params, CELLS[name])
    assert jax.tree.all(jax.tree.map(np.array_equal, to_linoss(ours), params))


def test_weights_of_a_layer_for_another_cell_are_refused():
    assert_refused("a LinOSSLayer for LRU", from_linoss, {}, seqmem.LRU)
    assert_refused("a LinOSSLayer for LRU", to_linoss, seqmem.LRU(2, 5, key=KEY))
