"""Structured matrices: signs and eigenvalues that they promise; a run makes them once."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem._cells import initialisers
from seqmem._cells.matrices import structure
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow

KEY = jax.random.key(0)
SIZE = 6


def normal(*shape):
    return jnp.asarray(np.random.default_rng(len(shape)).standard_normal(shape))


def with_random_parameters(structure, *gates):
    """A matrix with parameters as training might leave them."""
    matrix = structure(KEY, (*gates, SIZE, SIZE))
    return jax.tree.map(lambda leaf: 3 * normal(*leaf.shape), matrix)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_orthogonal_matrices_stay_orthogonal_whatever_their_parameters_are():
    for U in (with_random_parameters(seqmem.Orthogonal(), 2), seqmem.Orthogonal()(KEY, (2, 7, 7))):
        U = np.array(U.value())
        np.testing.assert_allclose(
            U @ U.mT, np.broadcast_to(np.eye(U.shape[-1]), U.shape), atol=1e-10
        )
        np.testing.assert_allclose(np.linalg.det(U), 1, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_eigenvalues_of_a_damped_antisymmetric_matrix_have_one_real_part():
    eigenvalues = np.linalg.eigvals(with_random_parameters(seqmem.Antisymmetric(0.3)).value())
    np.testing.assert_allclose(eigenvalues.real, -0.3, rtol=0, atol=1e-10)
    assert np.abs(eigenvalues.imag).max() > 1


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_skew_of_one_is_antisymmetric_and_skew_of_zero_is_symmetric():
    M = normal(SIZE, SIZE)
    skew, symmetric = (
        seqmem.StructuredMatrix(M, seqmem.SymmetricSkew(beta, 0.3)).value() for beta in (1, 0)
    )
    antisymmetric = seqmem.StructuredMatrix(M, seqmem.Antisymmetric(0.3)).value()
    np.testing.assert_allclose(skew, antisymmetric, rtol=0, atol=1e-12)
    np.testing.assert_allclose(symmetric, symmetric.T, rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_eigenvalues_of_a_schur_form_are_its_own_whatever_is_above_them():
    U = with_random_parameters(seqmem.Schur())
    gamma, theta = np.array([0.5, 1.0, 1.5]), np.array([0.1, 1.0, 2.0])
    moduli_and_angles = {"gamma": jnp.asarray(gamma), "theta": jnp.asarray(theta)}
    U = seqmem.StructuredMatrix(U.parameters | moduli_and_angles, U.structure)
    expected = np.concatenate([gamma * np.exp(1j * theta), gamma * np.exp(-1j * theta)])
    eigenvalues = np.linalg.eigvals(U.value())
    distances = np.abs(eigenvalues[:, None] - expected).min(0)
    np.testing.assert_allclose(distances, 0, rtol=0, atol=1e-10)
    assert np.abs(U.value() @ U.value().T - np.eye(SIZE)).max() > 1
    start = seqmem.Schur()(KEY, (SIZE, SIZE)).value()
    np.testing.assert_allclose(start @ start.T, np.eye(SIZE), rtol=0, atol=1e-10)


@pytest.mark.slow
def test_low_rank_matrices_have_their_rank_and_a_random_part_that_is_not_learned():
    U = seqmem.LowRank(2)(KEY, (3, SIZE, SIZE))
    assert np.linalg.matrix_rank(U.value()).tolist() == [2, 2, 2]
    U = seqmem.LowRank(2, random_gain=0.5)(KEY, (SIZE, SIZE))
    assert np.linalg.matrix_rank(U.value()) == SIZE
    gradient = jax.grad(lambda U: (U.value() ** 2).sum())(U).parameters
    assert not gradient["chi"].any()
    assert gradient["M"].all()
    large = seqmem.LowRank(1, random_gain=3.0)(KEY, (300, 300))
    np.testing.assert_allclose(jnp.std(large.value()) * np.sqrt(300), 3, rtol=0.01)


@pytest.mark.slow
def test_signs_of_units_stay_through_a_large_step_of_training():
    structure = seqmem.Sparse(~np.eye(10, dtype=bool), seqmem.Dale(0.8))
    cell = seqmem.RNN(3, 10, recurrent=structure, key=KEY)
    xs = jnp.asarray(normal(7, 3), jnp.float32)
    grads = jax.grad(lambda cell: seqmem.unroll(cell, None, xs)[1].sum())(cell)
    trained = jax.tree.map(lambda leaf, grad: leaf - 3 * grad, cell, grads)
    expected = np.where(np.eye(10), 0, [1] * 8 + [-1] * 2)
    assert (np.sign(trained.U.parameters) != np.sign(cell.U.parameters)).any()
    for U in (cell.U.value(), trained.U.value()):
        np.testing.assert_array_equal(np.sign(U), expected)


def test_recurrent_weights_are_not_drawn_with_the_numbers_of_the_input_weights():
    cell = seqmem.RNN(40, 40, recurrent=seqmem.Antisymmetric(), key=KEY)
    correlation = np.corrcoef(cell.W.ravel(), cell.U.parameters.ravel())[0, 1]
    assert abs(correlation) < 0.1  # four standard errors


@pytest.mark.optimised
@pytest.mark.parametrize(
    "make", [seqmem.RNN, *map(slow, (seqmem.LSTM, seqmem.GRU, seqmem.LeakyRNN, seqmem.CTRNN))]
)
def test_structure_leaves_the_input_weights_and_costs_no_orthogonal_matrix(make, monkeypatch):
    plain, structured = make(3, 5, key=KEY), make(3, 5, recurrent=seqmem.LowRank(2), key=KEY)
    np.testing.assert_allclose(structured.W, plain.W, rtol=1e-6)
    shapes = plain.W.shape, plain.U.shape

    def decomposes(draw):
        return "geqrf" in draw.lower(KEY, *shapes).compile().as_text()

    assert decomposes(initialisers.gate_matrices)
    assert not decomposes(structure.input_matrices)
    monkeypatch.setattr(structure, "input_matrices", lambda *_: plain.W + 1)
    other = make(3, 5, recurrent=seqmem.LowRank(2), key=KEY)
    np.testing.assert_array_equal(other.W, plain.W + 1)


@dataclasses.dataclass(frozen=True)
class Counted(seqmem.AbstractStructure):
    """Any matrix; COUNT grows whenever it is computed."""

    def draw(self, key, shape):
        return jax.random.normal(key, shape)

    def matrix(self, parameters):
        jax.debug.callback(lambda: COUNT.append(1))
        return jnp.tanh(parameters)


COUNT: list[int] = []


def squares(cell, method=None):
    return (seqmem.unroll(cell, None, jnp.ones((7, 2, 3)), method=method)[1] ** 2).sum()


def times_computed(fn, *args):
    """How often fn(*args) computes the matrix, and what it returns."""
    COUNT.clear()
    result = jax.block_until_ready(fn(*args))
    jax.effects_barrier()
    return len(COUNT), result


def test_run_and_its_gradient_compute_the_matrix_once():
    cell = seqmem.RNN(3, 5, recurrent=Counted(), key=KEY)
    assert times_computed(jax.grad(squares), cell)[0] == 1


@pytest.mark.slow
@pytest.mark.parametrize("method", [seqmem.Scan(), seqmem.ReferenceScan()], ids=str)
def test_gradient_of_the_parameters_is_that_of_the_matrix_pulled_back(method):
    cell = seqmem.RNN(3, 5, recurrent=Counted(), key=KEY)
    count, gradient = times_computed(jax.grad(squares), cell, method)
    assert count == 1
    plain = eqx.tree_at(lambda cell: cell.U, cell, jnp.tanh(cell.U.parameters))
    chained = jax.grad(squares)(plain).U * (1 - jnp.tanh(cell.U.parameters) ** 2)
    np.testing.assert_allclose(gradient.U.parameters, chained, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_single_step_computes_the_matrix_itself_unless_it_is_evaluated_before():
    cell = seqmem.RNN(3, 5, recurrent=Counted(), key=KEY)
    evaluated = seqmem.evaluate_parametrizations(cell)
    count, (state, _) = times_computed(cell, cell.init_state(), jnp.ones(3))
    count_evaluated, (expected, _) = times_computed(evaluated, cell.init_state(), jnp.ones(3))
    assert (count, count_evaluated) == (1, 0)
    np.testing.assert_allclose(state, expected, rtol=1e-6)


@pytest.mark.slow
def test_gates_and_weight_dropout_read_a_structured_matrix():
    cell = seqmem.LSTM(3, 5, recurrent=seqmem.LowRank(2), key=KEY)
    np.testing.assert_array_equal(seqmem.gate(cell, "forget").U, cell.U.value()[1])
    dropped = seqmem.with_weight_dropout(cell, 0.5, key=KEY)
    values = np.array(cell.U.value())
    assert np.isin(np.array(dropped.U), [0, 1]).sum() > 20
    np.testing.assert_allclose(np.where(dropped.U == 0, values, dropped.U / 2), values, rtol=1e-6)
    assert seqmem.gate(seqmem.with_gate(cell, "forget", b=2.0), "forget").b[0] == 2
    message = assert_refused(
        "U of a LSTM is a structured matrix", seqmem.with_gate, cell, "forget", U=0.0
    )
    assert "U.parameters" in message


@pytest.mark.slow
def test_exponential_refuses_to_be_wrong_and_keeps_bfloat16():
    huge = seqmem.StructuredMatrix(jnp.full((3, 3), 1e6), seqmem.Orthogonal())
    assert np.isnan(huge.value()).all()
    half = jax.tree.map(
        lambda leaf: leaf.astype(jnp.bfloat16), seqmem.Orthogonal()(KEY, (SIZE, SIZE))
    ).value()
    assert half.dtype == jnp.bfloat16
    wide = np.array(half, np.float32)
    np.testing.assert_allclose(wide @ wide.T, np.eye(SIZE), atol=2**-6)


@pytest.mark.parametrize(
    ("came", "make"),
    [
        ("LowRank got rank=6", lambda: seqmem.RNN(3, 5, recurrent=seqmem.LowRank(6), key=KEY)),
        ("LowRank got rank=0", lambda: seqmem.LowRank(0)),
        ("LowRank got random_gain=-1.0", lambda: seqmem.LowRank(2, random_gain=-1.0)),
        ("Dale got excitatory=1.2", lambda: seqmem.Dale(1.2)),
        ("Dale got excitatory=-0.1", lambda: seqmem.Dale(-0.1)),
        ("Dale got excitatory=nan", lambda: seqmem.Dale(float("nan"))),
        ("Antisymmetric got damping=-1.0", lambda: seqmem.Antisymmetric(-1.0)),
        ("SymmetricSkew got skew=2", lambda: seqmem.SymmetricSkew(2)),
        ("Schur got a matrix of 5 rows", lambda: seqmem.Schur()(KEY, (5, 5))),
        ("Orthogonal got a matrix of shape (5, 3)", lambda: seqmem.Orthogonal()(KEY, (5, 3))),
        ("Antisymmetric got a matrix", lambda: seqmem.Antisymmetric()(KEY, (5, 3))),
        ("Sparse got a mask of shape (4,)", lambda: seqmem.Sparse(np.ones(4))),
        ("Sparse got a mask of shape (2, 2)", lambda: seqmem.Sparse(np.full((2, 2), 0.5))),
        ("Sparse got structure=3", lambda: seqmem.Sparse(np.eye(2), 3)),
        (
            "Sparse got a mask of shape (4, 4) for a matrix of shape (5, 5)",
            lambda: seqmem.GRU(3, 5, recurrent=seqmem.Sparse(np.eye(4)), key=KEY),
        ),
        ("LSTM got recurrent=3", lambda: seqmem.LSTM(3, 5, recurrent=3, key=KEY)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_structures_refuse_what_they_cannot_be(came, make):
    assert_refused(came, make)


def test_sparse_structures_are_equal_where_their_masks_are():
    mask = np.tri(5, dtype=bool)
    assert seqmem.Sparse(mask) == seqmem.Sparse(mask.astype(int))
    assert hash(seqmem.Sparse(mask)) == hash(seqmem.Sparse(mask.astype(int)))
    assert seqmem.Sparse(mask) != seqmem.Sparse(mask.T)
    np.testing.assert_array_equal(seqmem.Sparse(mask).mask, mask)


@pytest.mark.slow
def test_fused_and_to_torch_read_the_matrix_and_not_its_parameters():
    cell = seqmem.RNN(3, SIZE, recurrent=seqmem.Orthogonal(), key=KEY)
    method = seqmem.Fused(precision="float32", interpret=True)
    assert method.refusal(cell, jnp.ones((2, 3))) is None
    weights = seqmem.interop.to_torch(cell)
    np.testing.assert_array_equal(weights["weight_hh_l0"], cell.U.value())
