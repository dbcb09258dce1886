"""Blocks compute and learn as other people's code says, whose numbers stand in
reference/blocks.npz, and exchange weights with it; make_blocks.py there wrote them.
"""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import interop, layers

with np.load(pathlib.Path(__file__).parent / "reference" / "blocks.npz") as file:
    TOLD = dict(file)
TOLERANCE = 1e-10
GRADIENT = "gradient of "
INPUTS = ("inputs", "first values")
OUTPUTS = ("outputs", "values")


class Block(NamedTuple):
    """A block by the name it has in the file, and its weights there and back."""

    there: Callable[..., Any]
    back: Callable[..., Any]
    options: dict[str, Any] = {}


BLOCKS = {
    "Qwen3-Next": Block(interop.from_qwen3_next, interop.to_qwen3_next, {"key_heads": 2}),
    "Mamba-2": Block(interop.from_mamba2, interop.to_mamba2, {"groups": 2}),
    "xLSTM": Block(interop.from_xlstm, interop.to_xlstm),
    "GLA": Block(interop.from_fla_gla, interop.to_fla_gla),
    "RWKV-7": Block(interop.from_fla_rwkv7, interop.to_fla_rwkv7),
    "RWKV-7 above": Block(interop.from_fla_rwkv7, interop.to_fla_rwkv7),
}
every_block = pytest.mark.parametrize("name", BLOCKS)


def told(name):
    """What the file says of a block."""
    return {
        own.removeprefix(f"{name}: "): array
        for own, array in TOLD.items()
        if own.startswith(f"{name}: ")
    }


def weights(name):
    """Its parameters: what has a gradient and is no input."""
    file = told(name)
    return {own: file[own] for own in file if GRADIENT + own in file and own not in INPUTS}


def made(name, given):
    return BLOCKS[name].there(given, **BLOCKS[name].options)


def as_given(leaves):
    """The inputs or outputs of a block that has one or two."""
    return leaves[0] if len(leaves) == 1 else tuple(leaves)


def inputs(name):
    """Time first."""
    file = told(name)
    return as_given([jnp.asarray(file[own].swapaxes(0, 1)) for own in INPUTS if own in file])


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for own, value in theirs.items():
        assert ours[own].shape == value.shape
        error = np.max(np.abs(ours[own] - value)) / np.max(np.abs(value))
        assert error <= TOLERANCE, f"{own} differs by {error} of its largest entry"


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "method",
    [None, layers.LayerByLayer(seqmem.Scan()), seqmem.Scan()],
    ids=["default", "layer by layer", "as one"],
)
@every_block
def test_a_block_computes_and_learns_as_in_other_peoples_code(name, method):
    file = told(name)
    shown = [own for own in OUTPUTS if own in file and name != "RWKV-7 above" or own == "outputs"]

    def loss(given, xs):
        block = made(name, given)
        _, ys = seqmem.unroll(block, block.init_state(), xs, method=method)
        ys = dict(zip(OUTPUTS, ys if isinstance(ys, tuple) else (ys,), strict=False))
        ys = {own: ys[own].swapaxes(0, 1) for own in shown}
        return sum((file[f"weight of {own}"] * ys[own]).sum() for own in shown), ys

    given = {own: jnp.asarray(array) for own, array in weights(name).items()}
    compute = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    (by_weights, by_xs), ys = compute(given, inputs(name))
    assert_same(ys, {own: file[own] for own in shown})
    by_xs = by_xs if isinstance(by_xs, tuple) else (by_xs,)
    by_xs = {own: leaf.swapaxes(0, 1) for own, leaf in zip(INPUTS, by_xs, strict=False)}
    assert_same(by_weights | by_xs, {own: file[GRADIENT + own] for own in (*given, *by_xs)})


@pytest.mark.usefixtures("float64")
@every_block
def test_a_block_steps_with_the_same_numbers(name):
    block = made(name, weights(name))
    step = jax.jit(jax.vmap(lambda state, x: block(state, x)))
    xs = inputs(name)
    batch = jax.tree.leaves(xs)[0].shape[1]
    state = jax.tree.map(lambda leaf: jnp.stack([leaf] * batch), block.init_state())
    outputs = told(name)["outputs"]
    for t in range(outputs.shape[1]):
        state, y = step(state, jax.tree.map(lambda leaf, t=t: leaf[t], xs))
        y = y[0] if isinstance(y, tuple) else y
        np.testing.assert_allclose(y, outputs[:, t], rtol=0, atol=TOLERANCE)
