"""Oscillators: the eigenvalues of their steps, exact also where these are equal; other programs."""

import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
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


def moduli(cell):
    """|λ| of a step of each oscillator, in order; without input a step is linear."""
    drive, zero = cell.project(jnp.zeros(cell.input_shape)), cell.init_state()
    ones = jnp.ones_like(zero.z)
    columns = cell.update(zero._replace(z=ones), drive), cell.update(zero._replace(y=ones), drive)
    M = np.array([[np.asarray(column[row][0]) for column in columns] for row in range(2)])
    return np.sort(np.abs(np.linalg.eigvals(M.transpose(2, 0, 1))), axis=-1)


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


@pytest.mark.usefixtures("float64")
def test_damped_steps_start_on_the_ring_and_never_leave_the_disc():
    cell = seqmem.DLinOSS(2, 500, r_min=0.5, r_max=0.8, key=KEY)
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
@pytest.mark.parametrize("name", slow_but({"DLinOSS"}, CELLS))
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


def weights_from(arrays, name):
    """The fields of our cell, from the names of the other program; also of gradients."""
    fields = {"A": "A_diag", "delta": "steps", "D": "D"}
    if name == "DLinOSS":
        fields["G"] = "G_diag"
    weights = {own: arrays[other] for own, other in fields.items()}
    return weights | {own: np.moveaxis(arrays[own], -1, 0) for own in ("B", "C")}


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
    cell = with_oscillators(CELLS[name](3, 4, key=KEY), **weights_from(arrays, name))

    def loss(cell, xs):
        ys = seqmem.unroll(cell, None, xs)[1]
        return (weight * ys).sum(), ys

    (d_cell, d_xs), ys = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(cell, jnp.asarray(xs))
    np.testing.assert_allclose(ys, arrays["ys"], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(d_xs, gradients["xs"], rtol=1e-10, atol=1e-11)
    for field, expected in weights_from(gradients, name).items():
        got = getattr(d_cell, field)
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-11, err_msg=field)
