"""Cells without memory: what they compute, that they keep every law, that no loop is needed."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.helpers.programs import lowered
from tests.helpers.slow import slow_but

import seqmem
from seqmem.layers import Embedding, LayerByLayer, LayerNorm, Map, Residual, RMSNorm, Stack

KEY = jax.random.key(0)
TIME, BATCH, SIZE, TOKENS = 7, 3, 5, 11

# a cell, and one of its inputs
CELLS = {
    "Map": lambda: (Map(eqx.nn.Linear(2, 3, key=KEY)), jnp.zeros(2)),
    "Map of a function": lambda: (Map(jnp.tanh, input_axes=2), jnp.zeros((2, 3))),
    "Embedding": lambda: (Embedding(TOKENS, SIZE, key=KEY), jnp.array(TOKENS - 1)),
    "LayerNorm": lambda: (LayerNorm(SIZE), jnp.zeros(SIZE)),
    "RMSNorm with_states": lambda: (seqmem.with_states(RMSNorm(SIZE)), jnp.zeros(SIZE)),
    "Stack": lambda: (
        Stack([Embedding(TOKENS, SIZE, key=KEY), Residual(block()), RMSNorm(SIZE)]),
        jnp.array(TOKENS - 1),
    ),
}


def block():
    return Stack([LayerNorm(SIZE), seqmem.MinGRU(SIZE, SIZE, key=KEY), Map(jax.nn.gelu)])


def normal(*shape):
    return np.random.default_rng(7).normal(size=shape)


@pytest.mark.parametrize("name", slow_but({"Embedding"}, CELLS))
def test_a_cell_without_memory_keeps_every_law_on_every_method(name):
    cell, x = CELLS[name]()
    methods = [LayerByLayer()] if name == "Stack" else None
    report = seqmem.testing.check_cell(cell, x, methods=methods)
    assert all(word == "holds" or "no parameters" in word for word in report.values())


@pytest.mark.parametrize("method", [seqmem.Newton(), seqmem.QuasiNewton()], ids=repr)
def test_newtons_methods_have_nothing_to_find_in_it(method):
    cell, xs = RMSNorm(SIZE), jnp.asarray(normal(TIME, BATCH, SIZE), jnp.float32)
    _, ys, report = seqmem.solve(cell, (), xs, method=method)
    np.testing.assert_array_equal(ys, seqmem.unroll(cell, (), xs)[1])
    assert report.converged.all()
    assert not report.iterations.any()


def test_nothing_is_run_in_a_loop():
    cell, xs = Map(eqx.nn.Linear(SIZE, 2, key=KEY)), jnp.ones((TIME, BATCH, SIZE))

    def loss(cell, xs):
        return seqmem.unroll(cell, (), xs)[1].sum()

    assert not lowered(jax.grad(loss), cell, xs, platform="cpu").inner


@pytest.mark.usefixtures("float64")
def test_norms_are_those_of_their_papers():
    x, scale, shift = normal(3, SIZE)
    rms = eqx.tree_at(lambda cell: cell.scale, RMSNorm(SIZE, eps=0.1), jnp.asarray(scale))
    layer = LayerNorm(SIZE, eps=0.1)
    layer = eqx.tree_at(lambda cell: (cell.scale, cell.shift), layer, (scale, shift))
    (_, y), (_, z) = (cell((), jnp.asarray(x)) for cell in (rms, jax.tree.map(jnp.asarray, layer)))
    np.testing.assert_allclose(y, scale * x / np.sqrt((x**2).mean() + 0.1), rtol=1e-14)
    standard = (x - x.mean()) / np.sqrt(x.var() + 0.1)
    np.testing.assert_allclose(z, scale * standard + shift, rtol=1e-13)


def test_a_norm_in_16_bits_is_made_in_32():
    """The squares of these have no place in 16 bits side by side."""
    x = jnp.concatenate([jnp.full(1, 100.0), jnp.full(2000, 1.0)]).astype(jnp.bfloat16)
    narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), RMSNorm(x.size))
    _, y = narrow((), x)
    want = np.asarray(x, np.float64)
    want = want / np.sqrt((want**2).mean())
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), want, rtol=2**-8)


def test_a_token_is_a_row_and_a_wrong_one_is_seen():
    cell = Embedding(TOKENS, SIZE, key=KEY)
    _, ys = seqmem.unroll(cell, (), jnp.array([[3, 0], [TOKENS, -1]]))
    np.testing.assert_array_equal(ys[0], cell.E[jnp.array([3, 0])])
    assert jnp.isnan(ys[1]).all()


def test_a_token_that_is_no_whole_number_is_refused():
    cell = Embedding(TOKENS, SIZE, key=KEY)
    with pytest.raises(ValueError, match=r"Embedding.project refused.*\n.*input_axes = 0"):
        seqmem.unroll(cell, (), jnp.ones((TIME, BATCH)))


@pytest.mark.parametrize("inner", [seqmem.LSTM, seqmem.LRU])
def test_a_residual_is_the_input_and_the_cell(inner):
    cell, xs = inner(SIZE, SIZE, key=KEY), jnp.asarray(normal(TIME, BATCH, SIZE), jnp.float32)
    state, ys = seqmem.unroll(Residual(cell), cell.init_state(), xs)
    alone, want = seqmem.unroll(cell, cell.init_state(), xs)
    np.testing.assert_array_equal(ys, xs + want)
    for own, other in zip(jax.tree.leaves(state), jax.tree.leaves(alone), strict=True):
        np.testing.assert_array_equal(own, other)


def test_a_residual_block_runs_each_of_its_layers_by_its_own_method():
    """Where no layer needs a loop, there is none."""
    cells = RMSNorm(SIZE), seqmem.DepthwiseConv(SIZE, width=3, key=KEY), Map(jax.nn.gelu)
    cell, xs = Residual(Stack(cells)), jnp.ones((TIME, BATCH, SIZE))

    def loops(method):
        def run(xs):
            return seqmem.unroll(cell, cell.init_state(), xs, method=method)[1]

        return len(lowered(run, xs, platform="cpu").inner)

    assert loops(None) == 0
    assert loops(LayerByLayer(None, seqmem.Scan(), None)) == 1


def test_a_residual_of_another_size_is_refused():
    cell = Residual(seqmem.GRU(SIZE, 1, key=KEY))
    with pytest.raises(ValueError, match=r"Residual got \(1,\).*\(5,\).*\n.*shape of the input"):
        seqmem.unroll(cell, cell.init_state(), jnp.ones((TIME, SIZE)))


def test_two_methods_for_one_cell_are_refused():
    cell = Residual(seqmem.GRU(SIZE, SIZE, key=KEY))
    with pytest.raises(ValueError, match=r"2 methods for one layer.*\n.*none, or one"):
        seqmem.unroll(
            cell, cell.init_state(), jnp.ones((TIME, SIZE)), method=LayerByLayer(None, None)
        )
