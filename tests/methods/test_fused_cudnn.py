"""cuDNN's LSTM under `Fused`: values and gradients are those of `Scan`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import rnn

import seqmem
from seqmem._methods.fused import cudnn_lstm
from tests.helpers.cudnn import BATCH, CALLS, INPUT, METHOD, TIME, draw, make, stand_in as stand_in
from tests.helpers.slow import slow

LENGTHS = np.array([7, 3, 1, 0, 2])


@functools.partial(jax.jit, static_argnums=0, static_argnames="reverse")
def everything(method, cell, xs, **options):
    """Outputs, final state, and the gradients of parameters, state and inputs."""
    state = jax.tree.map(
        lambda leaf: leaf + 0.3 * jnp.ones((*xs.shape[1:-1], 1)), cell.init_state()
    )

    def loss(cell, state, xs):
        final, ys = seqmem.unroll(cell, state, xs, method=method, **options)
        return jnp.sum(jnp.sin(ys)) + jnp.sum(final.h * final.c), (final, ys)

    return jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(cell, state, xs)


def largest_difference(got, want):
    """Of all leaves, in units of the largest entry of a leaf, or of 1 if that is more."""
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True)
    pairs = [(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in pairs]
    ratios = [np.abs(a - b).max(initial=0) / max(1, np.abs(b).max(initial=0)) for a, b in pairs]
    return np.max(ratios)  # NaN, where Python's max would pass over it


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("reverse", "has_lengths"),
    [(True, True), slow(False, False), slow(False, True), slow(True, False)],
)
def test_lstm_gives_the_numbers_of_scan(reverse, has_lengths):
    """A sequence without steps among them, and padding that is not a number."""
    cell, xs, options = make(), draw(TIME, BATCH, INPUT), {}
    if has_lengths:
        xs = jnp.where(np.arange(TIME)[:, None, None] < LENGTHS[:, None], xs, jnp.nan)
        options = {"lengths": LENGTHS}
    got = everything(METHOD, cell, xs, **options, reverse=reverse)
    want = everything(seqmem.Scan(), cell, xs, **options, reverse=reverse)
    assert largest_difference(got, want) < 2e-6
    assert set(CALLS) == {jax.lax.Precision.HIGHEST}


@pytest.mark.slow
@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("batch", [(), (2, 3)])
def test_lstm_has_any_number_of_batch_axes(batch):
    cell, xs = make(), draw(TIME, *batch, INPUT)
    got = everything(METHOD, cell, xs)
    assert largest_difference(got, everything(seqmem.Scan(), cell, xs)) < 2e-6


@pytest.mark.slow
@pytest.mark.usefixtures("stand_in")
def test_a_mask_and_segments_of_a_rematerialised_run_hold():
    cell, xs = make(), draw(TIME, BATCH, INPUT)
    mask = np.arange(TIME)[:, None] % (2 + np.arange(BATCH)) != 1
    got = everything(seqmem.Remat(3, METHOD), cell, xs, mask=mask)
    assert largest_difference(got, everything(seqmem.Scan(), cell, xs, mask=mask)) < 2e-6


@pytest.mark.slow
@pytest.mark.usefixtures("stand_in")
def test_second_derivatives_are_those_of_scan():
    cell, xs = make(), draw(TIME, BATCH, INPUT)

    def norm_of_gradient(method, cell, xs):
        gradients = everything(method, cell, xs, lengths=LENGTHS)[1]
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradients))

    second = jax.jit(jax.grad(norm_of_gradient, (1, 2)), static_argnums=0)
    assert largest_difference(second(METHOD, cell, xs), second(seqmem.Scan(), cell, xs)) < 1e-5


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("axis_of_cell", [slow(None), 0])
def test_vmap_calls_cudnn_for_each_example(axis_of_cell):
    cell, xs = make(), draw(TIME, 2, BATCH, INPUT)
    if axis_of_cell == 0:
        cell = jax.tree.map(lambda leaf: jnp.stack([leaf, 0.5 * leaf]), cell)

    def run(method):
        return jax.vmap(functools.partial(everything, method), (axis_of_cell, 1))(cell, xs)

    assert largest_difference(run(METHOD), run(seqmem.Scan())) < 2e-6


@pytest.mark.parametrize("precision", ["float32", "tensorfloat32"])
def test_each_pass_is_one_call_of_jax_experimental_rnn(monkeypatch, precision):
    """Traced as on a GPU, where JAX asks cuDNN for the sizes of its scratch."""
    sizes = "compute_rnn_workspace_reserve_space_sizes"
    monkeypatch.setattr(rnn.gpu_rnn, sizes, lambda *args: (11, 13), raising=False)
    monkeypatch.setattr(cudnn_lstm, "_refusal_of_device", lambda: None)
    cell, xs, method = make(), draw(TIME + 1, BATCH, INPUT), seqmem.Fused(precision)

    def loss(cell, xs):
        return jnp.sum(jnp.sin(seqmem.unroll(cell, None, xs, method=method)[1]))

    with seqmem.target_platform("gpu"):
        program = str(jax.make_jaxpr(jax.grad(loss, (0, 1)))(cell, xs))
    assert program.count("rnn_fwd[") == program.count("rnn_bwd[") == 1
    assert program.count(f"cudnn_allow_tf32={precision == 'tensorfloat32'}") == 2
    assert "scan[" not in program


@pytest.mark.slow
@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("precision", "is_tensorfloat32"), [("float32", False), ("tensorfloat32", True)]
)
def test_precision_is_the_one_asked_for_whatever_the_default_of_jax_is(precision, is_tensorfloat32):
    with jax.default_matmul_precision("bfloat16" if is_tensorfloat32 else "tensorfloat32"):
        seqmem.unroll(make(), None, draw(TIME, INPUT), method=seqmem.Fused(precision))
        assert rnn._lstm_cudnn_allow_tf32(CALLS[-1]) == is_tensorfloat32
