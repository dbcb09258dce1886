"""Gates by name: access, replacement, initial values, chrono biases; sizes and activations."""

import inspect

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem._cells.initialisers import gate_matrices, orthogonal
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow_but
from tests.papers import zoo

INPUT, HIDDEN, OUTPUT = 3, 5, 2


def make(cell_type, hidden=HIDDEN, **options):
    sizes = {"input_size": INPUT, "hidden_size": hidden, "size": hidden}
    sizes["input_shape"] = (7, INPUT)
    if cell_type is seqmem.ProjectedLSTM:
        sizes["output_size"] = OUTPUT
    parameters = inspect.signature(cell_type).parameters
    sizes = {name: size for name, size in sizes.items() if name in parameters}
    return cell_type(**sizes, key=jax.random.key(0), **options)


GATED = [
    value
    for value in vars(seqmem).values()
    if inspect.isclass(value) and issubclass(value, seqmem.AbstractCell) and value.gates
]
WITHOUT_SMALL = [cls for cls in GATED if cls not in zoo.PAPERS]
every_gated_cell = pytest.mark.parametrize("cell_type", slow_but(WITHOUT_SMALL, GATED))
RECURRENT = [cls for cls in GATED if not issubclass(cls, seqmem.AbstractDiagonalCell)]
RECURRENT.remove(seqmem.BRC)  # a number for each unit in place of a matrix
TIMED = (seqmem.GRUD, seqmem.ODELSTM, seqmem.PhasedLSTM)  # their input has a Δt
LSTMS = [
    cls for cls in RECURRENT if {"input", "forget", "cell"} <= set(cls.gates) and cls not in TIMED
]
IMAGES = (seqmem.ConvLSTM, seqmem.ConvGRU)


def test_cells_with_gates_are_these():
    names = {cls.__name__ for cls in RECURRENT}
    lstms = {"LSTM", "PeepholeLSTM", "ProjectedLSTM", "SLSTM", "MultiplicativeLSTM", "ConvLSTM"}
    assert {cls.__name__ for cls in LSTMS} == lstms
    small = {"JANET", "RAN", "UGRNN", "LiGRU", "CFN", "NBRC", "MUT3"}
    timed = {cls.__name__ for cls in TIMED}
    grus = {"GRU", "ResetBeforeGRU", "MGU", "ResetAfterMGU", "ConvGRU"}
    assert names == lstms | timed | small | grus


@every_gated_cell
def test_with_gate_replaces_one_gate_and_no_other(cell_type):
    cell = make(cell_type)
    for name in cell.gates:
        old = seqmem.gate(cell, name)
        new = {"W": old.W + 1, "U": None if old.U is None else old.U - 2, "b": old.b + 3}
        changed = seqmem.with_gate(cell, name, **new)
        for other in cell.gates:
            expected = new if other == name else seqmem.gate(cell, other)._asdict()
            for field, value in seqmem.gate(changed, other)._asdict().items():
                np.testing.assert_array_equal(value, expected[field], err_msg=f"{other}.{field}")


def test_gate_of_the_input_alone_has_no_recurrent_matrix():
    cell = make(seqmem.MinGRU)
    assert seqmem.gate(cell, "update").U is None
    assert_refused(
        "MinGRU has no U.", seqmem.with_gate, cell, "update", U=jnp.ones((HIDDEN, HIDDEN))
    )


@pytest.mark.slow
@pytest.mark.parametrize("cell_type", LSTMS)
@pytest.mark.parametrize(
    ("closed", "memory_share"), [("forget", 0.0), ("input", 1.0)], ids=["forget", "input"]
)
def test_lstm_gate_names_are_what_the_gates_do(cell_type, closed, memory_share):
    open_gate = {"forget": "input", "input": "forget"}[closed]
    cell = seqmem.with_gate(make(cell_type), closed, b=-100.0)
    cell = seqmem.with_gate(cell, open_gate, b=100.0)
    cell = seqmem.with_gate(cell, "cell", W=0.0, U=0.0, b=0.5)
    start = jax.tree.map(lambda leaf: leaf + 0.25, cell.init_state())
    state, _ = cell(start, jnp.ones(cell.input_shape))
    expected = 0.25 * memory_share + np.tanh(0.5) * (1 - memory_share)
    np.testing.assert_allclose(state.c, expected, rtol=1e-6)


@pytest.mark.parametrize("cell_type", [seqmem.GRU, seqmem.ResetBeforeGRU])
def test_gru_state_stays_where_the_update_gate_is_1(cell_type):
    start = jnp.full(HIDDEN, 0.25)
    cell = seqmem.with_gate(make(cell_type), "update", b=100.0)
    np.testing.assert_allclose(cell(start, jnp.ones(INPUT))[0], start, rtol=1e-6)
    cell = seqmem.with_gate(cell, "update", b=-100.0)
    cell = seqmem.with_gate(
        cell, "reset", b=-100.0
    )  # the candidate is then a function of the input alone
    candidate = seqmem.gate(cell, "candidate")
    expected = np.tanh(candidate.W @ np.ones(INPUT) + candidate.b)
    np.testing.assert_allclose(cell(start, jnp.ones(INPUT))[0], expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (5, 5)])
def test_orthogonal_matrices_are_uniform_over_the_rotations_and_reflections(shape):
    """Haar: every entry has mean 0 and variance 1/n, and the determinant takes both signs."""
    matrices = np.asarray(orthogonal(jax.random.key(1), (2003, *shape)))
    largest = max(shape)
    np.testing.assert_allclose(matrices.mean(0), 0, atol=4.5 / np.sqrt(2003 * largest))
    np.testing.assert_allclose(matrices.var(0) * largest, 1, atol=0.2)
    if shape[0] == shape[1]:
        assert abs(np.sign(np.linalg.det(matrices)).mean()) < 0.1


def test_input_weights_keep_the_variance_of_the_input():
    W, U = gate_matrices(jax.random.key(2), (4, 211, 53), (4, 7, 7))
    np.testing.assert_allclose(W.var() * 53, 1, atol=0.03)
    np.testing.assert_allclose(W.mean(), 0, atol=0.003)
    assert U.shape == (4, 7, 7)


@pytest.mark.slow
@pytest.mark.parametrize("cell_type", [seqmem.LSTM, seqmem.RNN])
def test_cells_of_mapped_keys_are_the_cells_of_each_key(cell_type):
    keys = jax.random.split(jax.random.key(3), 3)
    cells = eqx.filter_vmap(lambda key: cell_type(INPUT, HIDDEN, key=key))(keys)
    alone = eqx.filter_jit(lambda key: cell_type(INPUT, HIDDEN, key=key))(keys[1])
    assert not np.allclose(cells.W[0], cells.W[1])
    for mapped, one in zip(jax.tree.leaves(cells), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(mapped[1], one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cell_type", LSTMS)
@pytest.mark.parametrize("given", [{}, {"forget_bias": 2.5}])
def test_forget_gate_alone_has_a_bias_at_the_start(cell_type, given):
    cell = make(cell_type, **given)
    for name in cell.gates:
        expected = given.get("forget_bias", 1.0) if name == "forget" else 0.0
        np.testing.assert_array_equal(seqmem.gate(cell, name).b, np.full(HIDDEN, expected))


@pytest.mark.slow
@pytest.mark.parametrize("cell_type", [*LSTMS, seqmem.JANET, seqmem.GRU, seqmem.ResetBeforeGRU])
def test_chrono_biases_are_uniform_in_the_lag_up_to_the_longest(cell_type):
    longest, hidden = 101, 1009
    # Many units, so that the biases come near their bounds; the large matrices are zeros.
    cell = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
        eqx.filter_eval_shape(make, cell_type, hidden),
    )
    chrono = seqmem.with_chrono_bias(cell, longest, key=jax.random.key(1))
    gate = "update" if "update" in cell.gates else "forget"
    bias = np.asarray(seqmem.gate(chrono, gate).b)
    assert 0 <= bias.min() < 0.7  # ln 2: the smallest time constants are two or three steps
    assert np.log(0.97 * (longest - 1)) < bias.max() <= np.log(longest - 1)
    assert abs(np.exp(bias).mean() - longest / 2) < 5  # uniform in the lag, not in its logarithm
    for name in set(cell.gates) - {gate}:
        expected = -bias if name == "input" else np.zeros(hidden)
        np.testing.assert_array_equal(seqmem.gate(chrono, name).b, expected)
    for field in ("W", "U"):
        np.testing.assert_array_equal(getattr(chrono, field), getattr(cell, field))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_with_gate_casts_to_the_dtype_of_the_cell(dtype):
    cell = jax.tree.map(lambda leaf: leaf.astype(dtype), make(seqmem.LSTM))
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        changed = seqmem.with_gate(cell, "cell", U=np.eye(HIDDEN), b=np.float64(2))
        changed = seqmem.with_chrono_bias(changed, 100, key=jax.random.key(1))
    assert {leaf.dtype for leaf in jax.tree.leaves(changed)} == {jnp.dtype(dtype)}


def test_gate_access_refuses_unknown_gates_and_shapes():
    lstm, rnn, mgu = (make(cls) for cls in (seqmem.LSTM, seqmem.RNN, seqmem.MGU))
    assert_refused("gate 'reset' of LSTM.", seqmem.gate, lstm, "reset")
    assert_refused("gate 'input' of RNN.", seqmem.gate, rnn, "input")
    assert_refused("gate 'g' of LSTM.", seqmem.with_gate, lstm, "g", b=0.0)
    assert_refused(
        "U of gate 'cell' has shape (5,).", seqmem.with_gate, lstm, "cell", U=jnp.ones(5)
    )
    assert_refused(
        "b of gate 'cell' has shape (1,).", seqmem.with_gate, lstm, "cell", b=jnp.ones(1)
    )
    key = jax.random.key(0)
    assert_refused("with_chrono_bias got longest_lag=2.", seqmem.with_chrono_bias, lstm, 2, key=key)
    assert_refused("MGU has the gates", seqmem.with_chrono_bias, mgu, 100, key=key)
    min_gru = make(seqmem.MinGRU)  # its update gate scales the candidate, a GRU's the old state
    assert_refused("MinGRU has the gates", seqmem.with_chrono_bias, min_gru, 100, key=key)
    assert_refused("RNN has the gates", seqmem.with_chrono_bias, rnn, 100, key=key)


def test_slstm_has_finite_gradients_where_its_normaliser_nearly_underflows():
    cell = seqmem.SLSTM(3, 4, num_heads=2, key=jax.random.key(0))
    cell = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), cell)
    state = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), cell.init_state())
    z = jnp.zeros((4, 4), jnp.float32).at[0].set(jnp.array([-10, -60, -80, -120], jnp.float32))
    z = z.at[2].set(1)

    def output(z):
        return cell.gate(state, z).h

    np.testing.assert_allclose(output(z), [*[0.5 * np.tanh(1)] * 3, 0], rtol=1e-6)
    gradient = jax.jacobian(output)(z)
    assert jnp.isfinite(gradient).all()
    np.testing.assert_allclose(gradient[2, 2, 2], 0.5 / np.cosh(1) ** 2, rtol=1e-5)
