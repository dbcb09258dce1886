"""Faults of other libraries that seqmem does not have, each with its library.

Two more are in cells/test_gates.py: gates that are orthogonal only as a fused matrix (Flax nnx),
and a forget bias on another gate (rnn-jax).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.slow import slow

TIME, BATCH, INPUT, HIDDEN = 7, 3, 2, 5
CELLS = (seqmem.RNN, seqmem.LSTM, seqmem.GRU)
every_cell = pytest.mark.parametrize("cell_type", CELLS)

pytestmark = pytest.mark.usefixtures("float64")


def make(cell_type):
    return cell_type(INPUT, HIDDEN, key=jax.random.key(0))


def normal(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape)


def draw_state(cell, *batch):
    """A state that is not the initial one."""
    return jax.tree.map(lambda leaf: normal(*batch, *leaf.shape), cell.init_state())


def gradients(cell, state, xs, **options):
    def loss(cell, state, xs):
        return sum(map(jnp.sum, jax.tree.leaves(seqmem.unroll(cell, state, xs, **options))))

    return jax.grad(loss, (0, 1, 2))(cell, state, xs)


def assert_finite(tree):
    for leaf in jax.tree.leaves(tree):
        assert np.all(np.isfinite(leaf))


# Flax linen's seq_lengths


@every_cell
def test_padding_of_nan_reaches_no_gradient(cell_type):
    cell, lengths = make(cell_type), np.array([7, 4, 0])
    xs = normal(TIME, BATCH, INPUT)
    xs[np.arange(TIME)[:, None] >= lengths] = np.nan
    assert_finite(gradients(cell, draw_state(cell, BATCH), xs, lengths=lengths))


@every_cell
def test_sequence_of_length_0_returns_its_state(cell_type):
    cell = make(cell_type)
    state = draw_state(cell, BATCH)
    final, _ = seqmem.unroll(cell, state, normal(TIME, BATCH, INPUT), lengths=np.array([7, 0, 4]))
    for given, got in zip(jax.tree.leaves(state), jax.tree.leaves(final), strict=True):
        np.testing.assert_array_equal(got[1], given[1])
        assert np.all(got[0] != given[0])


def test_length_beyond_the_time_is_refused():
    cell, xs = make(seqmem.GRU), normal(TIME, INPUT)
    with pytest.raises(ValueError, match="0 <= length <= 7"):
        seqmem.unroll(cell, cell.init_state(), xs, lengths=np.array(TIME + 1))


@every_cell
def test_final_state_has_all_batch_axes(cell_type):
    cell, xs = make(cell_type), normal(TIME, 2, BATCH, INPUT)
    lengths = np.array([[7, 4, 0], [1, 2, 3]])
    final, ys = seqmem.unroll(cell, cell.init_state(), xs, lengths=lengths)
    assert {leaf.shape for leaf in jax.tree.leaves(final)} == {(2, BATCH, HIDDEN)}
    assert ys.shape == (TIME, 2, BATCH, HIDDEN)


@every_cell
def test_padded_outputs_are_zero(cell_type):
    cell, lengths = make(cell_type), np.array([7, 4, 0])
    _, ys = seqmem.unroll(cell, draw_state(cell), normal(TIME, BATCH, INPUT), lengths=lengths)
    valid = np.arange(TIME)[:, None] < lengths
    np.testing.assert_array_equal(np.any(np.asarray(ys) != 0, axis=-1), valid)


# Rows without a single step: PyTorch #4582 and #11514, TensorFlow #43103


@every_cell
def test_batch_of_empty_sequences_has_no_gradient(cell_type):
    cell, state = make(cell_type), draw_state(make(cell_type), BATCH)
    xs = np.full((TIME, BATCH, INPUT), np.nan)
    d_cell, d_state, d_xs = gradients(cell, state, xs, lengths=np.zeros(BATCH, int))
    for leaf in jax.tree.leaves((d_cell, d_xs)):
        np.testing.assert_array_equal(leaf, np.zeros_like(leaf))
    for leaf in jax.tree.leaves(d_state):
        np.testing.assert_array_equal(leaf, np.ones_like(leaf))


# Resets: by multiplication in memax and recurrentgemma; off by one in purejaxrl #23


@every_cell
def test_reset_removes_nan(cell_type):
    cell, xs = make(cell_type), normal(TIME, INPUT)
    xs[:3] = np.nan
    final, ys = seqmem.unroll(cell, draw_state(cell), xs, resets=np.arange(TIME) == 3)
    assert_finite((final, ys[3:]))
    assert np.all(np.isnan(ys[:3]))


@every_cell
def test_reset_applies_before_its_step(cell_type):
    cell, xs = make(cell_type), normal(TIME, INPUT)
    _, ys = seqmem.unroll(cell, draw_state(cell), xs, resets=np.arange(TIME) == 3)
    _, first = cell(cell.init_state(), xs[3])
    np.testing.assert_allclose(ys[3], first, rtol=1e-12)


def test_reset_restores_the_learned_state_and_trains_it():
    cell = seqmem.with_learned_state(make(seqmem.GRU), normal(HIDDEN))
    xs, state = normal(TIME, INPUT), draw_state(cell)
    resets = np.arange(TIME) == 3
    _, ys = seqmem.unroll(cell, state, xs, resets=resets)
    np.testing.assert_allclose(ys[3], cell(cell.init_state(), xs[3])[1], rtol=1e-12)
    d_cell, _, _ = gradients(cell, state, xs, resets=resets)
    assert np.all(d_cell.init_state() != 0)


# Flax nnx: the candidate of its GRU has no bias on the side of the state


@pytest.mark.parametrize(("reset", "factor"), [(50.0, 1.0), (-50.0, 0.0)])
def test_gru_candidate_has_a_bias_under_the_reset_gate(reset, factor):
    silent = jax.tree.map(jnp.zeros_like, make(seqmem.GRU))
    biases = [leaf for leaf in jax.tree.leaves(silent) if leaf.shape == (HIDDEN,)]
    assert len(biases) == 1
    c = normal(HIDDEN)
    cell = jax.tree.map(lambda leaf: c if leaf.shape == (HIDDEN,) else leaf, silent)
    _, y = seqmem.with_gate(cell, "reset", b=reset)(jnp.zeros(HIDDEN), jnp.zeros(INPUT))
    # The update gate is half open, and the old state is 0.
    np.testing.assert_allclose(y, 0.5 * np.tanh(factor * c), atol=1e-12)


# memax: a Gated DeltaNet returns 4 MB of states for 32 KB of output


@every_cell
def test_states_are_returned_on_request_only(cell_type):
    cell, xs = make(cell_type), normal(TIME, BATCH, INPUT)
    final, ys = seqmem.unroll(cell, cell.init_state(), xs)
    assert len(jax.tree.leaves(ys)) == 1
    assert seqmem.solve(cell, None, xs).states is None
    solution = seqmem.solve(cell, None, xs, return_states=True)
    for leaf, last in zip(
        jax.tree.leaves(solution.states), jax.tree.leaves(solution.state), strict=True
    ):
        assert leaf.shape == (TIME, BATCH, HIDDEN)
        np.testing.assert_array_equal(leaf[-1], last)
    # Another program, which XLA may round otherwise in the last digit.
    jax.tree.map(
        lambda got, want: np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-15),
        (solution.state, solution.outputs),
        (final, ys),
    )


# mlstm_kernels: crashes on an initial state, and where the chunk does not divide the time


@every_cell
@pytest.mark.parametrize("remat_every", [slow(1), 3, slow(100)])
def test_remat_every_need_not_divide_the_time(cell_type, remat_every):
    cell, xs = make(cell_type), normal(TIME, INPUT)
    got = gradients(cell, draw_state(cell), xs, remat_every=remat_every)
    want = gradients(cell, draw_state(cell), xs)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-13)


# jax.experimental.rnn: one cell, float32, no CPU, no jvp, no vmap, no jit without static arguments


@pytest.mark.slow
@every_cell
def test_cell_is_a_pytree_of_arrays_for_every_transformation(cell_type):
    cell, xs = make(cell_type), normal(TIME, BATCH, INPUT)

    def loss(cell, xs):
        return seqmem.unroll(cell, cell.init_state(), xs, method=seqmem.ReferenceScan())[1].sum()

    gradient = jax.jit(jax.grad(loss))(cell, xs)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {np.dtype("float64")}
    _, slope = jax.jvp(loss, (cell, xs), (gradient, np.zeros_like(xs)))
    squares = sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(gradient))
    np.testing.assert_allclose(slope, squares, rtol=1e-10)
    per_example = jax.vmap(jax.grad(loss), (None, 1))(cell, xs)
    for one, whole in zip(jax.tree.leaves(per_example), jax.tree.leaves(gradient), strict=True):
        np.testing.assert_allclose(one.sum(0), whole, rtol=1e-10, atol=1e-13)


# Keras #14047 and Flax #5254: the state takes the dtype of what it meets


@every_cell
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_state_keeps_its_dtype_for_all_parameters(cell_type, dtype):
    cell = jax.tree.map(lambda leaf: leaf.astype(dtype), make(cell_type))
    state_dtype = "float64" if dtype == "float64" else "float32"
    xs = normal(TIME, INPUT).astype("float32")
    final, _ = seqmem.unroll(cell, cell.init_state(), xs)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(final)} == {state_dtype}
    assert_finite(final)
