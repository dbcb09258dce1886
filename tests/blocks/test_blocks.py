"""Blocks compute and learn as other people's code says, whose numbers stand in
reference/blocks.npz, and exchange weights with it; make_blocks.py there wrote them.
"""

import itertools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem import blocks, interop, layers
from tests.helpers.slow import slow_but

with np.load(pathlib.Path(__file__).parent.parent / "reference" / "blocks.npz") as file:
    TOLD = dict(file)
TOLERANCE = 1e-10
KEY = jax.random.key(0)
GRADIENT = "gradient of "
INPUTS = ("inputs", "first values")
OUTPUTS = ("outputs", "values")


class Block(NamedTuple):
    """A block by the name it has in the file, and its weights there and back."""

    there: Callable[..., Any]
    back: Callable[..., Any]
    options: dict[str, Any]


BLOCKS = {
    "Qwen3-Next": Block(interop.from_qwen3_next, interop.to_qwen3_next, {"num_key_heads": 2}),
    "Mamba-2": Block(interop.from_mamba2, interop.to_mamba2, {"num_groups": 2}),
    "Gated DeltaNet": Block(
        interop.from_fla_gated_delta_net, interop.to_fla_gated_delta_net, {"beta_max": 2.0}
    ),
    "xLSTM": Block(interop.from_xlstm, interop.to_xlstm, {}),
    "GLA": Block(interop.from_fla_gla, interop.to_fla_gla, {}),
    "RWKV-7": Block(interop.from_fla_rwkv7, interop.to_fla_rwkv7, {}),
    "RWKV-7 above": Block(interop.from_fla_rwkv7, interop.to_fla_rwkv7, {}),
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


QUICK = {("Qwen3-Next", "default"), ("RWKV-7", "default")}
METHODS = {
    "default": None,
    "in two blocks": layers.LayerByLayer(seqmem.Parallel(chunk_size=16)),
    "layer by layer": layers.LayerByLayer(seqmem.Scan()),
    "as one cell": seqmem.ReferenceScan(),
}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("name", "how"), slow_but(QUICK, itertools.product(BLOCKS, METHODS)))
def test_a_block_computes_and_learns_as_in_other_peoples_code(name, how):
    method = METHODS[how]
    file = told(name)
    shown = [own for own in OUTPUTS if own in file]

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


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@every_block
def test_there_and_back_are_the_same_weights(name, dtype):
    given = {own: array.astype(dtype) for own, array in weights(name).items()}
    again = BLOCKS[name].back(made(name, given))
    assert again.keys() == given.keys()
    for own, array in given.items():
        assert isinstance(again[own], np.ndarray)
        assert again[own].dtype == dtype
        np.testing.assert_array_equal(again[own], array)


@every_block
def test_what_is_imported_is_the_block_that_its_function_makes(name):
    block = made(name, weights(name))
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
        "xLSTM": lambda: blocks.xlstm_block(10, 14, num_heads=2, key_size=3, key=KEY),
        "GLA": lambda: blocks.gla_block(12, 15, num_heads=3, key_size=2, rank=2, key=KEY),
        "RWKV-7": lambda: blocks.rwkv7_block(6, num_heads=2, key=KEY),
        "RWKV-7 above": lambda: blocks.rwkv7_block(6, num_heads=2, first_layer=False, key=KEY),
    }
    own = eqx.filter_eval_shape(sizes[name])
    assert jax.tree.structure(block) == jax.tree.structure(own)
    if "RWKV" not in name:  # whose module has a rank for each of its matrices of low rank
        shapes = [[leaf.shape for leaf in jax.tree.leaves(cell)] for cell in (block, own)]
        assert shapes[0] == shapes[1]


@every_block
def test_weights_of_several_precisions_become_the_widest(name):
    given = {own: array.astype("float32") for own, array in weights(name).items()}
    narrow = next(iter(given))
    given[narrow] = given[narrow].astype(jnp.bfloat16)
    leaves = jax.tree.leaves(made(name, given))
    assert {leaf.dtype for leaf in leaves} == {np.dtype("float32")}


@every_block
def test_names_and_shapes_that_do_not_fit_are_refused(name):
    given = weights(name)
    with pytest.raises(
        ValueError, match=r"(?s)^names \[.+\.\n  Expected: .+\n  What to do: pass the"
    ):
        made(name, {f"mixer.{own}": array for own, array in given.items()})
    with pytest.raises(
        ValueError, match=r"(?s)^names \[.+, and no others\.\n  What to do: pass the"
    ):
        made(name, given | {"another.bias": np.ones(3)})
    for own in given:
        longer = np.concatenate([given[own], given[own][:1]])
        with pytest.raises(ValueError, match=r"(?s)\n  Expected: .+\n  What to do: pass the state"):
            made(name, given | {own: longer})
        with pytest.raises(ValueError, match=rf"^{own} is int64 of shape .+\n  Expected: floating"):
            made(name, given | {own: np.ones(given[own].shape, int)})


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("Qwen3-Next", "num_key_heads"),
        ("Mamba-2", "num_groups"),
        ("Gated DeltaNet", "num_key_heads"),
    ],
)
def test_groups_that_do_not_divide_are_refused(name, wrong):
    there, given = BLOCKS[name].there, weights(name)
    for number in (0, 4):
        with pytest.raises(
            ValueError, match=rf"^{wrong}={number} for num_heads=\d\.\n  Expected: a whole"
        ):
            there(given, **{wrong: number})


@every_block
def test_other_cells_are_not_exported(name):
    other = "GLA" if name != "GLA" else "xLSTM"
    for cell in (made(other, weights(other)), made(name, weights(name)).layers[-1]):
        with pytest.raises(
            ValueError, match=r"^a cell of \['.+\n  Expected: \['.+makes it.\n  What"
        ):
            BLOCKS[name].back(cell)


@pytest.mark.parametrize(
    ("back", "beta_max"),
    [(interop.to_qwen3_next, 2.0), (interop.to_fla_gated_delta_net, 1.5)],
)
def test_a_beta_max_that_a_module_does_not_have_is_not_exported(back, beta_max):
    block = blocks.gated_delta_net_block(7, 15, num_heads=3, key_size=2, beta_max=beta_max, key=KEY)
    with pytest.raises(ValueError, match=rf"^a block with beta_max={beta_max}.\n  Expected: 1.+\n"):
        back(block)


@pytest.mark.parametrize(
    ("make", "came"),
    [
        (
            lambda: blocks.gated_delta_net_block(3, 10, num_heads=5, num_key_heads=2, key=KEY),
            "num_key_heads=2 for num_heads=5",
        ),
        (
            lambda: blocks.gated_delta_net_block(3, 4, num_heads=2, key_size=0, key=KEY),
            "key_size=0",
        ),
        (
            lambda: blocks.gated_delta_net_block(3, 4, num_heads=2, beta_max=3.0, key=KEY),
            "beta_max=3.0",
        ),
        (lambda: blocks.mamba2_block(3, 5, num_heads=2, key=KEY), "got 2 heads for a size of 5"),
        (
            lambda: blocks.mamba2_block(3, 6, num_heads=3, num_groups=2, key=KEY),
            "num_groups=2 for num_heads=3",
        ),
        (lambda: blocks.mamba2_block(0, 6, num_heads=3, key=KEY), "input_size=0"),
        (lambda: blocks.gla_block(3, 5, num_heads=2, key=KEY), "got 2 heads for a size of 5"),
        (lambda: blocks.gla_block(3, 4, num_heads=2, rank=0, key=KEY), "rank=0"),
        (lambda: blocks.xlstm_block(3, 5, num_heads=2, key=KEY), "got 2 heads for a size of 5"),
        (lambda: blocks.xlstm_block(0, 4, num_heads=2, key=KEY), "input_size=0"),
        (lambda: blocks.rwkv7_block(5, num_heads=2, key=KEY), "got 2 heads for a size of 5"),
        (
            lambda: blocks.rwkv7_block(6, num_heads=2, rank=0, first_layer=False, key=KEY),
            "rank=0",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_refused(make, came):
    with pytest.raises(ValueError, match=r"(?s).+\n  Expected: .+\n  What to do: .+") as refusal:
        make()
    assert came in str(refusal.value)


@pytest.mark.slow
def test_upper_rwkv7_block_keeps_every_law():
    cell = blocks.rwkv7_block(6, num_heads=3, rank=5, first_layer=False, key=KEY)
    report = seqmem.testing.check_cell(
        cell, (np.zeros(6, np.float32),) * 2, methods=[layers.LayerByLayer()]
    )
    assert set(report.values()) == {"holds"}
