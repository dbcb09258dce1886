"""Memories that learn while they read: other people's programs, and runs that cut a mini-batch."""

import functools
import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow

with np.load(pathlib.Path(__file__).parent.parent / "reference" / "learning.npz") as file:
    REFERENCE = dict(file)
key = jax.random.key(0)


def theirs(name, *, of_gradients):
    """Their parameters or gradients by our names, in our layout."""
    prefix = f"{name}: gradient of " if of_gradients else f"{name}: "
    found = {
        own.removeprefix(prefix): leaf for own, leaf in REFERENCE.items() if own.startswith(prefix)
    }
    if name == "Titans":
        gates = {"alpha": "decay_factor", "eta": "momentum", "theta": "adaptive_step"}
        qkv = {"q": "queries", "k": "keys", "v": "values"}
        layers = (found[f"memory_model_parameters.{layer}"].mT for layer in range(2))
        return (
            {f"W_{own}": found[f"to_{other}.0.weight"] for own, other in (qkv | gates).items()}
            | {f"b_{own}": found[f"to_{other}.0.bias"] for own, other in gates.items()}
            | {"M_0": tuple(layers)}
        )
    model = [
        leaf.mT if own[0] == "W" else leaf[:, 0] for own, leaf in found.items() if own in INNER
    ]
    return {f"W_{own}": found[f"{own}_proj.weight"] for own in "qkv"} | {
        "W_eta": found["learnable_ttt_lr_weight"][:, 0],
        "b_eta": found["learnable_ttt_lr_bias"][:, 0],
        "scale": found["learnable_token_idx"],
        "gamma": found["ttt_norm_weight"],
        "beta": found["ttt_norm_bias"],
        "model": tuple(model),
    }


INNER = ("W1", "b1", "W2", "b2")
CELLS = {
    "TTT-Linear": seqmem.TTTLinear,
    "TTT-MLP": seqmem.TTTMLP,
    "Titans": lambda *sizes, **options: seqmem.Titans(*sizes, **options, inner_size=6),
}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", [slow("TTT-Linear"), slow("TTT-MLP"), slow("Titans")])
def test_outputs_and_gradients_match_the_reference(name):
    """Two mini-batches of three steps and a part of a third, from the learned weights."""
    cell = CELLS[name](8, 8, num_heads=2, mini_batch_size=3, key=key)
    for own, leaf in theirs(name, of_gradients=False).items():
        leaf = jax.tree.map(jnp.asarray, leaf)
        like = getattr(cell, own)
        leaf = jax.tree.unflatten(jax.tree.structure(like), jax.tree.leaves(leaf))
        assert jax.tree.map(jnp.shape, leaf) == jax.tree.map(jnp.shape, like)
        cell = eqx.tree_at(lambda cell, own=own: getattr(cell, own), cell, leaf)

    @jax.jit
    def run(cell, xs, weight):
        ys, pull = jax.vjp(lambda cell, xs: seqmem.unroll(cell, None, xs)[1], cell, xs)
        return ys, pull(weight)

    xs, weight, outputs, d_xs = (
        jnp.moveaxis(REFERENCE[f"{name}: {own}"], 0, 1)
        for own in ("inputs", "weight", "outputs", "gradient of inputs")
    )
    ys, (d_cell, d_inputs) = run(cell, xs, weight)
    np.testing.assert_allclose(ys, outputs, rtol=0, atol=1e-12)
    np.testing.assert_allclose(d_inputs, d_xs, rtol=0, atol=1e-11)
    for own, expected in theirs(name, of_gradients=True).items():
        ours = jax.tree.leaves(getattr(d_cell, own))
        for got, want in zip(ours, jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-11)


MAKE = {
    "TTTLinear": lambda: seqmem.TTTLinear(3, 8, num_heads=2, mini_batch_size=5, key=key),
    "Titans": lambda: seqmem.Titans(3, 6, num_heads=2, mini_batch_size=5, key=key),
}


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ["TTTLinear", "Titans"])
def test_reset_in_the_middle_of_a_mini_batch_begins_a_new_one(name):
    """Outputs, final states and gradients are those of one sequence after another, and of the
    weights that both start from. A reset just after the end of a sequence does nothing.
    """
    cell = seqmem.with_learned_state(MAKE[name]())
    xs = jnp.asarray(np.random.default_rng(3).normal(size=(13, 2, 3)))
    resets = jnp.zeros((13, 2), bool).at[[7, 5], [0, 1]].set(True)

    def together(cell):
        return seqmem.unroll(cell, None, xs, lengths=jnp.array([13, 5]), resets=resets)

    def apart(cell):
        _, first = seqmem.unroll(cell, None, xs[:7, 0])
        end, second = seqmem.unroll(cell, None, xs[7:, 0])
        other_end, other = seqmem.unroll(cell, None, xs[:5, 1])
        ys = jnp.concatenate([first, second]), jnp.pad(other, [(0, 8), (0, 0)])
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), end, other_end), jnp.stack(ys, 1)

    def values_and_gradients(run):
        def loss(cell):
            state, ys = run(cell)
            leaves = jax.tree.leaves(eqx.filter((state, ys), eqx.is_inexact_array))
            return sum(jnp.sin(leaf).sum() for leaf in leaves), (state, ys)

        return jax.jit(jax.grad(loss, has_aux=True))(cell)

    close = functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-10)
    jax.tree.map(close, values_and_gradients(together), values_and_gradients(apart))


@pytest.mark.usefixtures("float64")
@pytest.mark.slow
@pytest.mark.parametrize("name", MAKE)
def test_run_in_parts_with_rematerialised_steps_is_one_run(name):
    """The state carries an unfinished mini-batch over the parts, whose sizes do not divide it."""
    cell = MAKE[name]()
    xs = jnp.asarray(np.random.default_rng(3).normal(size=(17, 2, 3)))

    @jax.jit
    def outputs_and_gradients(cell, xs):
        def in_parts(cell, xs):
            state, ys = None, []
            for part in (xs[:7], xs[7:9], xs[9:]):
                state, y = seqmem.unroll(cell, state, part, remat_every=4)
                ys.append(y)
            return jnp.concatenate(ys)

        whole, parts = (
            jax.vjp(run, cell, xs)
            for run in (lambda cell, xs: seqmem.unroll(cell, None, xs)[1], in_parts)
        )
        return [(ys, pull(jnp.cos(ys))) for ys, pull in (whole, parts)]

    whole, parts = outputs_and_gradients(cell, xs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-10), whole, parts)


@pytest.mark.usefixtures("float64")
@pytest.mark.slow
def test_titans_with_a_matrix_is_the_momentum_delta_rule():
    """Chunks of one step; half the learning rate, since the loss has no ½. The rule runs in
    chunks of 64.
    """
    rule = seqmem.MomentumDeltaRule(3, 8, num_heads=2, key=key)
    cell = seqmem.Titans(3, 8, num_heads=2, num_layers=1, mini_batch_size=1, key=key)
    for name in ("W_q", "W_k", "W_v", "W_eta", "b_eta"):
        cell = eqx.tree_at(lambda c, n=name: getattr(c, n), cell, getattr(rule, name))
    cell = eqx.tree_at(
        lambda c: (c.W_alpha, c.b_alpha, c.W_theta),
        cell,
        (-rule.W_alpha, -rule.b_alpha, 0 * rule.W_theta),
    )
    # σ(b) = ½ of the rule's, at a learning rate that does not depend on the input
    rule = eqx.tree_at(
        lambda c: (c.W_theta, c.b_theta), rule, (0 * rule.W_theta, jnp.full(2, jnp.log(1.5)))
    )
    cell = eqx.tree_at(lambda c: c.b_theta, cell, jnp.full(2, jnp.log(3 / 7)))
    xs = jnp.asarray(np.random.default_rng(3).normal(size=(150, 3)))
    start = seqmem.Memory(jnp.concatenate([cell.M_0[0], jnp.zeros((2, 4, 4))], -1))
    state, ys = jax.jit(seqmem.unroll)(cell, None, xs)
    memory, expected = jax.jit(seqmem.unroll)(rule, start, xs)
    np.testing.assert_allclose(ys, expected, rtol=0, atol=1e-12)
    learned = jnp.concatenate([state.memory[0], state.momentum[0]], -1)
    np.testing.assert_allclose(memory.matrix, learned, rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [seqmem.TTTLinear, seqmem.TTTMLP, seqmem.Titans], ids=lambda cell: cell.__name__
)
def test_state_of_narrow_parameters_is_float32(name):
    cell = name(3, 8, num_heads=2, key=key)
    cell = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), cell)
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(cell.init_state))}
    assert dtypes == {jnp.dtype(jnp.float32), jnp.dtype(jnp.int32)}


def test_sizes_that_do_not_fit_are_refused():
    assert_refused("TTTLinear got 3 heads", seqmem.TTTLinear, 3, 8, num_heads=3, key=key)
    assert_refused("RoPE for heads of 3", seqmem.TTTMLP, 3, 6, num_heads=2, key=key)
    for cell in (seqmem.TTTLinear, seqmem.TTTMLP, seqmem.Titans):
        assert_refused(
            f"{cell.__name__} got mini_batch_size=0",
            *(cell, 3, 8),
            num_heads=2,
            mini_batch_size=0,
            key=key,
        )
    assert_refused("TTTMLP got base_lr=0", seqmem.TTTMLP, 3, 8, num_heads=2, base_lr=0, key=key)
    assert_refused(
        "Titans got num_layers=0", seqmem.Titans, 3, 8, num_heads=2, num_layers=0, key=key
    )
