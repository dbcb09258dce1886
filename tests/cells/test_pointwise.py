"""Pointwise cells: their outputs, every law, no loop in their programs; residuals around cells."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.layers import Embedding, LayerByLayer, LayerNorm, Map, Residual, RMSNorm, Stack
from tests.helpers.programs import lowered
from tests.helpers.refusals import assert_refused
from tests.helpers.slow import slow_but

KEY = jax.random.key(0)
TIME, BATCH, SIZE, TOKENS = 7, 3, 5, 11

# a cell, and one of its inputs
CELLS = {
    "Map": lambda: (Map(eqx.nn.Linear(2, 3, key=KEY)), jnp.zeros(2)),
    "Map of a function": lambda: (Map(jnp.tanh, input_shape=(None, None)), jnp.zeros((2, 3))),
    "Embedding": lambda: (Embedding(TOKENS, SIZE, key=KEY), jnp.array(TOKENS - 1)),
    "LayerNorm": lambda: (LayerNorm(SIZE), jnp.zeros(SIZE)),
    "RMSNorm with_input_dropout": lambda: (
        seqmem.with_input_dropout(RMSNorm(SIZE), 0.5, (), key=KEY),
        jnp.zeros(SIZE),
    ),
    "Stack": lambda: (
        Stack([Embedding(TOKENS, SIZE, key=KEY), Residual(block()), RMSNorm(SIZE)]),
        jnp.array(TOKENS - 1),
    ),
}


def block():
    return Stack([LayerNorm(SIZE), seqmem.MinGRU(SIZE, SIZE, key=KEY), Map(jax.nn.gelu)])


def normal(*shape):
    return np.random.default_rng(7).normal(size=shape)


@pytest.mark.parametrize("name", slow_but({}, CELLS))
def test_pointwise_cell_passes_every_law_on_every_method(name):
    cell, x = CELLS[name]()
    methods = [LayerByLayer()] if name == "Stack" else None
    report = seqmem.testing.check_cell(cell, x, methods=methods)
    assert all(word == "holds" or "no parameters" in word for word in report.values())


@pytest.mark.parametrize("method", [seqmem.Newton(), seqmem.QuasiNewton()], ids=repr)
def test_newton_takes_no_iteration_for_a_pointwise_cell(method):
    cell, xs = RMSNorm(SIZE), jnp.asarray(normal(TIME, BATCH, SIZE), jnp.float32)
    solution = seqmem.solve(cell, (), xs, method=method)
    np.testing.assert_array_equal(solution.outputs, seqmem.unroll(cell, (), xs)[1])
    assert solution.stats.converged.all()
    assert not solution.stats.iterations.any()


def test_pointwise_cell_has_no_loop():
    cell, xs = Map(eqx.nn.Linear(SIZE, 2, key=KEY)), jnp.ones((TIME, BATCH, SIZE))

    def loss(cell, xs):
        return seqmem.unroll(cell, (), xs)[1].sum()

    assert not lowered(jax.grad(loss), cell, xs, platform="cpu").inner


@pytest.mark.usefixtures("float64")
def test_norms_match_the_equations_of_their_papers():
    x, scale, shift = normal(3, SIZE)
    rms = eqx.tree_at(lambda cell: cell.scale, RMSNorm(SIZE, eps=0.1), jnp.asarray(scale))
    layer = LayerNorm(SIZE, eps=0.1)
    layer = eqx.tree_at(lambda cell: (cell.scale, cell.shift), layer, (scale, shift))
    (_, y), (_, z) = (cell((), jnp.asarray(x)) for cell in (rms, jax.tree.map(jnp.asarray, layer)))
    np.testing.assert_allclose(y, scale * x / np.sqrt((x**2).mean() + 0.1), rtol=1e-14)
    standard = (x - x.mean()) / np.sqrt(x.var() + 0.1)
    np.testing.assert_allclose(z, scale * standard + shift, rtol=1e-13)


def test_norm_of_16_bit_inputs_is_computed_in_32_bits():
    """In 16 bits the sum of these squares would lose the small ones."""
    x = jnp.concatenate([jnp.full(1, 100.0), jnp.full(2000, 1.0)]).astype(jnp.bfloat16)
    narrow = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), RMSNorm(x.size))
    _, y = narrow((), x)
    expected = np.asarray(x, np.float64)
    expected = expected / np.sqrt((expected**2).mean())
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(y.astype(jnp.float32), expected, rtol=2**-8)


def test_embedding_of_a_token_is_its_row_and_of_an_unknown_token_nan():
    cell = Embedding(TOKENS, SIZE, key=KEY)
    _, ys = seqmem.unroll(cell, (), jnp.array([[3, 0], [TOKENS, -1]]))
    np.testing.assert_array_equal(ys[0], cell.E[jnp.array([3, 0])])
    assert jnp.isnan(ys[1]).all()


def test_embedding_refuses_tokens_that_are_not_whole_numbers():
    cell = Embedding(TOKENS, SIZE, key=KEY)
    with pytest.raises(ValueError, match=r"Embedding.project refused.*\n.*shape \(\)"):
        seqmem.unroll(cell, (), jnp.ones((TIME, BATCH)))


@pytest.mark.slow
@pytest.mark.parametrize("inner", [seqmem.LSTM, seqmem.LRU])
def test_residual_adds_the_input_to_the_output_of_its_layer(inner):
    cell, xs = inner(SIZE, SIZE, key=KEY), jnp.asarray(normal(TIME, BATCH, SIZE), jnp.float32)
    state, ys = seqmem.unroll(Residual(cell), None, xs)
    inner_state, inner_ys = seqmem.unroll(cell, None, xs)
    np.testing.assert_array_equal(ys, xs + inner_ys)
    for leaf, expected in zip(jax.tree.leaves(state), jax.tree.leaves(inner_state), strict=True):
        np.testing.assert_array_equal(leaf, expected)


def test_residual_runs_each_layer_by_the_default_method_of_the_layer():
    """The program has a loop only if a layer needs one."""
    cells = RMSNorm(SIZE), seqmem.DepthwiseConv(SIZE, width=3, key=KEY), Map(jax.nn.gelu)
    cell, xs = Residual(Stack(cells)), jnp.ones((TIME, BATCH, SIZE))

    def loops(method):
        def run(xs):
            return seqmem.unroll(cell, None, xs, method=method)[1]

        return len(lowered(run, xs, platform="cpu").inner)

    assert loops(None) == 0
    assert loops(LayerByLayer(None, seqmem.Scan(), None)) == 1


def test_residual_refuses_an_output_of_another_size():
    cell = Residual(seqmem.GRU(SIZE, 1, key=KEY))
    message = "Residual got {array (1,)} from its layer for an input of {array (5,)}."
    assert_refused(message, seqmem.unroll, cell, None, jnp.ones((TIME, SIZE)))


def test_residual_refuses_two_methods_for_one_layer():
    cell = Residual(seqmem.GRU(SIZE, SIZE, key=KEY))
    method, message = LayerByLayer(None, None), "LayerByLayer got 2 methods for 1 layers."
    assert_refused(message, seqmem.unroll, cell, None, jnp.ones((TIME, SIZE)), method=method)
