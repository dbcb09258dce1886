"""Blocks match the code of their authors in outputs and gradients."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import blocks, layers
from tests.helpers.blocks import (
    BLOCKS,
    GRADIENT,
    INPUTS,
    every_block,
    make_block,
    reference,
    weights,
)
from tests.helpers.slow import slow_but

TOLERANCE = 1e-10
KEY = jax.random.key(0)
OUTPUTS = ("outputs", "values")


def inputs(name):
    """The inputs of a block, time first: one array, or a pair."""
    file = reference(name)
    arrays = [jnp.asarray(file[key].swapaxes(0, 1)) for key in INPUTS if key in file]
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name].shape == value.shape
        error = np.max(np.abs(ours[name] - value)) / np.max(np.abs(value))
        assert error <= TOLERANCE, f"{name} differs by {error} of its largest entry"


QUICK = {("Qwen3-Next", "default")}
METHODS = {
    "default": None,
    "in two chunks": layers.LayerByLayer(seqmem.Parallel(chunk_size=16)),
    "layer by layer": layers.LayerByLayer(seqmem.Scan()),
    "as one cell": seqmem.ReferenceScan(),
}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("name", "how"), slow_but(QUICK, itertools.product(BLOCKS, METHODS)))
def test_block_matches_its_authors_code_in_outputs_and_gradients(name, how):
    method = METHODS[how]
    file = reference(name)
    outputs = [key for key in OUTPUTS if key in file]

    def loss(arrays, xs):
        block = make_block(name, arrays)
        _, ys = seqmem.unroll(block, block.init_state(), xs, method=method)
        ys = dict(zip(OUTPUTS, ys if isinstance(ys, tuple) else (ys,), strict=False))
        ys = {key: ys[key].swapaxes(0, 1) for key in outputs}
        return sum((file[f"weight of {key}"] * ys[key]).sum() for key in outputs), ys

    arrays = {key: jnp.asarray(array) for key, array in weights(name).items()}
    compute = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    (d_arrays, d_xs), ys = compute(arrays, inputs(name))
    assert_same(ys, {key: file[key] for key in outputs})
    d_xs = d_xs if isinstance(d_xs, tuple) else (d_xs,)
    d_xs = {key: leaf.swapaxes(0, 1) for key, leaf in zip(INPUTS, d_xs, strict=False)}
    assert_same(d_arrays | d_xs, {key: file[GRADIENT + key] for key in (*arrays, *d_xs)})


@pytest.mark.usefixtures("float64")
@every_block
def test_block_steps_with_the_same_numbers(name):
    block = make_block(name, weights(name))
    step = jax.jit(jax.vmap(lambda state, x: block(state, x)))
    xs = inputs(name)
    batch = jax.tree.leaves(xs)[0].shape[1]
    state = jax.tree.map(lambda leaf: jnp.stack([leaf] * batch), block.init_state())
    outputs = reference(name)["outputs"]
    for t in range(outputs.shape[1]):
        state, y = step(state, jax.tree.map(lambda leaf, t=t: leaf[t], xs))
        y = y[0] if isinstance(y, tuple) else y
        np.testing.assert_allclose(y, outputs[:, t], rtol=0, atol=TOLERANCE)


@every_block
def test_imported_block_has_the_structure_that_its_function_makes(name):
    block = make_block(name, weights(name))
    sizes = {
        "Qwen3-Next": lambda: blocks.gated_delta_net_block(
            7, 18, num_heads=6, num_key_heads=2, key_size=5, key=KEY
        ),
        "Gated DeltaNet": lambda: blocks.gated_delta_net_block(
            7, 15, num_heads=3, key_size=2, beta_max=2, eps=1e-5, key=KEY
        ),
        "Mamba-2": lambda: blocks.mamba2_block(
            3, 30, num_heads=6, key_size=7, num_groups=2, key=KEY
        ),
        "Mamba-3": lambda: blocks.mamba3_block(
            6, 12, num_heads=4, key_size=8, num_groups=2, key=KEY
        ),
        "Mamba-3 MIMO": lambda: blocks.mamba3_block(
            5, 20, num_heads=4, key_size=6, num_groups=2, rank=3, num_angles=3, key=KEY
        ),
        "xLSTM": lambda: blocks.xlstm_block(10, 14, num_heads=2, key_size=3, key=KEY),
        "GLA": lambda: blocks.gla_block(12, 15, num_heads=3, key_size=2, rank=2, key=KEY),
        "MesaNet": lambda: blocks.mesa_net_block(7, 6, num_heads=3, key=KEY),
        "GSA": lambda: blocks.gsa_block(12, 12, num_heads=3, key_size=5, num_slots=7, key=KEY),
        "RWKV-7": lambda: blocks.rwkv7_block(6, num_heads=2, key=KEY),
        "RWKV-7 above": lambda: blocks.rwkv7_block(6, num_heads=2, first_layer=False, key=KEY),
        "Gated DeltaNet-2": lambda: blocks.gated_delta_net_2_block(
            7, 30, num_heads=6, num_key_heads=3, key_size=2, beta_max=2, key=KEY
        ),
        "Comba": lambda: blocks.comba_block(7, 15, num_heads=3, key_size=2, key=KEY),
        "RWKV-6": lambda: blocks.rwkv6_block(
            12, 15, num_heads=3, key_size=2, mix_rank=4, rank=7, key=KEY
        ),
        "preconditioned Gated DeltaNet": lambda: blocks.preconditioned_gated_delta_net_block(
            7, 15, num_heads=3, key_size=2, beta_max=2, key=KEY
        ),
        "preconditioned KDA": lambda: blocks.preconditioned_kda_block(
            7, 15, num_heads=3, key_size=2, beta_max=2, key=KEY
        ),
        "DeltaNet": lambda: blocks.delta_net_block(
            12, 12, num_heads=3, key_size=2, beta_max=2, key=KEY
        ),
        "KDA": lambda: blocks.kda_block(7, 15, num_heads=3, key_size=2, key=KEY),
        "MiniMax": lambda: blocks.lightning_attention_block(
            7, 12, num_heads=3, layer=1, num_layers=5, key=KEY
        ),
    }
    expected = eqx.filter_eval_shape(sizes[name])
    assert jax.tree.structure(block) == jax.tree.structure(expected)
    if "RWKV-7" not in name:  # whose module has a rank for each of its matrices of low rank
        shapes = [[leaf.shape for leaf in jax.tree.leaves(cell)] for cell in (block, expected)]
        assert shapes[0] == shapes[1]
