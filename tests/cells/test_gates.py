"""Gates are spoken of by their names, and each begins as it should."""

import inspect

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem

INPUT, HIDDEN, OUTPUT = 3, 5, 2
THREE_PARTS = r"(?s)^.+\.\n  Expected: .+\.\n  What to do: .+\.$"


def make(cell_type, hidden=HIDDEN, **options):
    sizes = {"input_size": INPUT, "hidden_size": hidden, "size": hidden}
    if cell_type is seqmem.ProjectedLSTM:
        sizes["output_size"] = OUTPUT
    taken = inspect.signature(cell_type).parameters
    sizes = {name: size for name, size in sizes.items() if name in taken}
    return cell_type(**sizes, key=jax.random.key(0), **options)


GATED = [
    value
    for value in vars(seqmem).values()
    if inspect.isclass(value) and issubclass(value, seqmem.AbstractCell) and value.gates
]
every_gated_cell = pytest.mark.parametrize("cell_type", GATED)
RECURRENT = [cls for cls in GATED if not issubclass(cls, seqmem.AbstractDiagonalCell)]
LSTMS = [cls for cls in RECURRENT if {"input", "forget"} <= set(cls.gates)]


def test_these_are_all_cells_whose_gates_look_at_the_state():
    names = {cls.__name__ for cls in RECURRENT}
    lstms = {"LSTM", "PeepholeLSTM", "ProjectedLSTM", "SLSTM"}
    assert names == lstms | {"GRU", "ResetBeforeGRU", "MGU"}


@every_gated_cell
def test_a_gate_holds_what_was_written_to_it_and_no_other_changes(cell_type):
    cell = make(cell_type)
    for name in cell.gates:
        old = seqmem.gate(cell, name)
        new = {"W": old.W + 1, "U": None if old.U is None else old.U - 2, "b": old.b + 3}
        written = seqmem.with_gate(cell, name, **new)
        for other in cell.gates:
            expected = new if other == name else seqmem.gate(cell, other)._asdict()
            for field, value in seqmem.gate(written, other)._asdict().items():
                np.testing.assert_array_equal(value, expected[field], err_msg=f"{other}.{field}")


def test_a_gate_that_never_looks_at_the_state_has_no_recurrent_matrix():
    cell = make(seqmem.MinGRU)
    assert seqmem.gate(cell, "update").U is None
    refused("MinGRU has no U.", seqmem.with_gate, cell, "update", U=jnp.ones((HIDDEN, HIDDEN)))


@pytest.mark.parametrize("cell_type", LSTMS)
@pytest.mark.parametrize(
    ("closed", "kept"), [("forget", 0.0), ("input", 1.0)], ids=["forget", "input"]
)
def test_the_names_are_what_the_gates_do(cell_type, closed, kept):
    opened = {"forget": "input", "input": "forget"}[closed]
    cell = seqmem.with_gate(make(cell_type), closed, b=-100.0)
    cell = seqmem.with_gate(cell, opened, b=100.0)
    cell = seqmem.with_gate(cell, "cell", W=0.0, U=0.0, b=0.5)
    start = jax.tree.map(lambda leaf: leaf + 0.25, cell.init_state())
    state, _ = cell(start, jnp.ones(INPUT))
    expected = 0.25 * kept + np.tanh(0.5) * (1 - kept)
    np.testing.assert_allclose(state.c, expected, rtol=1e-6)


@pytest.mark.parametrize("cell_type", [seqmem.GRU, seqmem.ResetBeforeGRU])
def test_an_open_update_gate_keeps_the_state(cell_type):
    start = jnp.full(HIDDEN, 0.25)
    cell = seqmem.with_gate(make(cell_type), "update", b=100.0)
    np.testing.assert_allclose(cell(start, jnp.ones(INPUT))[0], start, rtol=1e-6)
    cell = seqmem.with_gate(cell, "update", b=-100.0)
    cell = seqmem.with_gate(cell, "reset", b=-100.0)  # the candidate then sees only the input
    candidate = seqmem.gate(cell, "candidate")
    expected = np.tanh(candidate.W @ np.ones(INPUT) + candidate.b)
    np.testing.assert_allclose(cell(start, jnp.ones(INPUT))[0], expected, rtol=1e-5)


@pytest.mark.parametrize("cell_type", RECURRENT)
def test_each_gate_begins_orthogonal(cell_type):
    cell = make(cell_type)
    matrices = [seqmem.gate(cell, name).U for name in cell.gates]
    for U in matrices:
        np.testing.assert_allclose(np.linalg.svd(U, compute_uv=False), 1, rtol=0, atol=1e-6)
    assert not np.allclose(matrices[0], matrices[-1])  # each gate is a draw of its own


def test_the_recurrent_neuron_begins_orthogonal():
    singular = np.linalg.svd(make(seqmem.RNN).U, compute_uv=False)
    np.testing.assert_allclose(singular, 1, rtol=0, atol=1e-6)


@pytest.mark.parametrize("cell_type", LSTMS)
@pytest.mark.parametrize("given", [{}, {"forget_bias": 2.5}])
def test_only_the_forget_gate_begins_with_a_bias(cell_type, given):
    cell = make(cell_type, **given)
    for name in cell.gates:
        expected = given.get("forget_bias", 1.0) if name == "forget" else 0.0
        np.testing.assert_array_equal(seqmem.gate(cell, name).b, np.full(HIDDEN, expected))


@pytest.mark.parametrize("cell_type", [*LSTMS, seqmem.GRU, seqmem.ResetBeforeGRU])
def test_chrono_biases_open_the_gates_for_the_lags_asked_for(cell_type):
    longest, hidden = 101, 1009
    # Of many units, so that the bounds are nearly met; without a draw of their large matrices.
    cell = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
        eqx.filter_eval_shape(make, cell_type, hidden),
    )
    chrono = seqmem.with_chrono_bias(cell, longest, key=jax.random.key(1))
    keeps = "update" if "update" in cell.gates else "forget"
    bias = np.asarray(seqmem.gate(chrono, keeps).b)
    assert 0 <= bias.min() < 0.7  # ln 2: some unit forgets within two or three steps
    assert np.log(0.97 * (longest - 1)) < bias.max() <= np.log(longest - 1)
    assert abs(np.exp(bias).mean() - longest / 2) < 5  # uniform in the lag, not in its logarithm
    for name in set(cell.gates) - {keeps}:
        expected = -bias if name == "input" else np.zeros(hidden)
        np.testing.assert_array_equal(seqmem.gate(chrono, name).b, expected)
    for field in ("W", "U"):
        np.testing.assert_array_equal(getattr(chrono, field), getattr(cell, field))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_what_is_written_takes_the_dtype_of_the_cell(dtype):
    cell = jax.tree.map(lambda leaf: leaf.astype(dtype), make(seqmem.LSTM))
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        written = seqmem.with_gate(cell, "cell", U=np.eye(HIDDEN), b=np.float64(2))
        written = seqmem.with_chrono_bias(written, 100, key=jax.random.key(1))
    assert {leaf.dtype for leaf in jax.tree.leaves(written)} == {jnp.dtype(dtype)}


def refused(came, function, *args, **kwargs):
    with pytest.raises(ValueError, match=THREE_PARTS) as refusal:
        function(*args, **kwargs)
    assert str(refusal.value).startswith(came)


def test_refusals_say_what_came_what_was_expected_and_what_to_do():
    lstm, rnn, mgu = (make(cls) for cls in (seqmem.LSTM, seqmem.RNN, seqmem.MGU))
    refused("gate 'reset' of LSTM.", seqmem.gate, lstm, "reset")
    refused("gate 'input' of RNN.", seqmem.gate, rnn, "input")
    refused("gate 'g' of LSTM.", seqmem.with_gate, lstm, "g", b=0.0)
    refused("U of gate 'cell' has shape (5,).", seqmem.with_gate, lstm, "cell", U=jnp.ones(5))
    refused("b of gate 'cell' has shape (1,).", seqmem.with_gate, lstm, "cell", b=jnp.ones(1))
    key = jax.random.key(0)
    refused("with_chrono_bias got longest_lag=2.", seqmem.with_chrono_bias, lstm, 2, key=key)
    refused("MGU has the gates", seqmem.with_chrono_bias, mgu, 100, key=key)
    min_gru = make(seqmem.MinGRU)  # its update gate lets in, where a GRU's keeps
    refused("MinGRU has the gates", seqmem.with_chrono_bias, min_gru, 100, key=key)
    refused("RNN has the gates", seqmem.with_chrono_bias, rnn, 100, key=key)
