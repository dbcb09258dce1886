"""Blocks match the code of their authors in outputs and gradients, and exchange weights with it.

The reference numbers are in tests/reference: blocks.npz, solvers.npz, mamba3.npz and
new_blocks.npz, written by make_blocks.py, make_solvers.py, make_mamba3.py and make_new_blocks.py in
that folder.
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
from tests.helpers.laws import check_laws_of_time
from tests.helpers.slow import slow_but

REFERENCE = {}
for part in ("blocks", "solvers", "mamba3", "slots", "new_blocks"):
    with np.load(pathlib.Path(__file__).parent.parent / "reference" / f"{part}.npz") as file:
        REFERENCE |= file
TOLERANCE = 1e-10
KEY = jax.random.key(0)
GRADIENT = "gradient of "
INPUTS = ("inputs", "first values")
OUTPUTS = ("outputs", "values")


class Block(NamedTuple):
    """The importer of a block, its inverse, and the options that the weights do not tell."""

    from_weights: Callable[..., Any]
    to_weights: Callable[..., Any]
    options: dict[str, Any]


BLOCKS = {
    "Qwen3-Next": Block(interop.from_qwen3_next, interop.to_qwen3_next, {"num_key_heads": 2}),
    "Mamba-2": Block(interop.from_mamba2, interop.to_mamba2, {"num_groups": 2}),
    "Mamba-3": Block(interop.from_mamba3, interop.to_mamba3, {"num_groups": 2}),
    "Mamba-3 MIMO": Block(
        interop.from_mamba3, interop.to_mamba3, {"num_groups": 2, "rope_fraction": 1.0}
    ),
    "Gated DeltaNet": Block(
        interop.from_fla_gated_delta_net, interop.to_fla_gated_delta_net, {"beta_max": 2.0}
    ),
    "xLSTM": Block(interop.from_xlstm, interop.to_xlstm, {}),
    "GLA": Block(interop.from_fla_gla, interop.to_fla_gla, {}),
    "MesaNet": Block(interop.from_fla_mesa_net, interop.to_fla_mesa_net, {}),
    "GSA": Block(interop.from_fla_gsa, interop.to_fla_gsa, {"num_heads": 3}),
    "RWKV-7": Block(interop.from_fla_rwkv7, interop.to_fla_rwkv7, {}),
    "RWKV-7 above": Block(interop.from_fla_rwkv7, interop.to_fla_rwkv7, {}),
    "Gated DeltaNet-2": Block(
        interop.from_fla_gated_delta_net_2, interop.to_fla_gated_delta_net_2, {"beta_max": 2.0}
    ),
    "Comba": Block(interop.from_fla_comba, interop.to_fla_comba, {}),
    "RWKV-6": Block(interop.from_fla_rwkv6, interop.to_fla_rwkv6, {}),
    "preconditioned Gated DeltaNet": Block(
        interop.from_fla_preconditioned_gated_delta_net,
        interop.to_fla_preconditioned_gated_delta_net,
        {"beta_max": 2.0},
    ),
    "preconditioned KDA": Block(
        interop.from_fla_preconditioned_kda, interop.to_fla_preconditioned_kda, {"beta_max": 2.0}
    ),
    "DeltaNet": Block(interop.from_fla_delta_net, interop.to_fla_delta_net, {"beta_max": 2.0}),
    "KDA": Block(interop.from_fla_kda, interop.to_fla_kda, {}),
    "MiniMax": Block(
        interop.from_minimax,
        interop.to_minimax,
        {"num_heads": 3, "layer": 1, "num_layers": 5},
    ),
}
every_block = pytest.mark.parametrize("name", BLOCKS)


def reference(block):
    """The arrays of one block in the file, by name."""
    prefix = f"{block}: "
    return {
        name.removeprefix(prefix): array
        for name, array in REFERENCE.items()
        if name.startswith(prefix)
    }


def weights(name):
    """The parameters of a block: the arrays with a gradient that are no inputs."""
    file = reference(name)
    return {key: file[key] for key in file if GRADIENT + key in file and key not in INPUTS}


def make_block(name, arrays):
    return BLOCKS[name].from_weights(arrays, **BLOCKS[name].options)


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


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@every_block
def test_weights_survive_the_round_trip(name, dtype):
    arrays = {key: array.astype(dtype) for key, array in weights(name).items()}
    copies = BLOCKS[name].to_weights(make_block(name, arrays))
    assert copies.keys() == arrays.keys()
    for key, array in arrays.items():
        assert isinstance(copies[key], np.ndarray)
        assert copies[key].dtype == dtype
        np.testing.assert_array_equal(copies[key], array)


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


@every_block
def test_weights_of_several_precisions_become_the_widest(name):
    arrays = {key: array.astype("float32") for key, array in weights(name).items()}
    narrow = next(iter(arrays))
    arrays[narrow] = arrays[narrow].astype(jnp.bfloat16)
    leaves = jax.tree.leaves(make_block(name, arrays))
    assert {leaf.dtype for leaf in leaves} == {np.dtype("float32")}


@every_block
def test_names_and_shapes_that_do_not_fit_are_refused(name):
    arrays = weights(name)
    with pytest.raises(
        ValueError, match=r"(?s)^names \[.+\.\n  Expected: .+\n  What to do: pass the"
    ):
        make_block(name, {f"mixer.{key}": array for key, array in arrays.items()})
    with pytest.raises(
        ValueError, match=r"(?s)^names \[.+, and no others\.\n  What to do: pass the"
    ):
        make_block(name, arrays | {"another.bias": np.ones(3)})
    for key, array in arrays.items():
        longer = np.concatenate([array, array[:1]])
        with pytest.raises(ValueError, match=r"(?s)\n  Expected: .+\n  What to do: pass the state"):
            make_block(name, arrays | {key: longer})
        with pytest.raises(ValueError, match=rf"^{key} is int64 of shape .+\n  Expected: floating"):
            make_block(name, arrays | {key: np.ones(array.shape, int)})


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("Qwen3-Next", "num_key_heads"),
        ("Mamba-2", "num_groups"),
        ("Gated DeltaNet", "num_key_heads"),
    ],
)
def test_groups_that_do_not_divide_are_refused(name, wrong):
    from_weights, arrays = BLOCKS[name].from_weights, weights(name)
    for number in (0, 4):
        with pytest.raises(
            ValueError, match=rf"^{wrong}={number} for num_heads=\d\.\n  Expected: a whole"
        ):
            from_weights(arrays, **{wrong: number})


@every_block
def test_layer_of_another_type_is_not_exported(name):
    other = "GLA" if name != "GLA" else "xLSTM"
    for layer in (make_block(other, weights(other)), make_block(name, weights(name)).layers[-1]):
        with pytest.raises(
            ValueError, match=r"^a cell of \['.+\n  Expected: \['.+makes it.\n  What"
        ):
            BLOCKS[name].to_weights(layer)


def test_rotations_that_a_module_does_not_have_are_refused():
    def make(**sizes):
        return blocks.mamba3_block(3, 6, num_heads=2, key=KEY, **sizes)

    for block in (make(key_size=8, num_angles=3), make(key_size=5, rank=2, num_angles=1)):
        with pytest.raises(ValueError, match=r"(?s)^a block with .+\n  Expected: .+\n  What to do"):
            interop.to_mamba3(block)
    with pytest.raises(
        ValueError, match=r"^a block with rope_fraction=0\.25\.\n  Expected: 0\.5 or"
    ):
        interop.from_mamba3(weights("Mamba-3"), 2, rope_fraction=0.25)


@pytest.mark.parametrize(
    ("to_weights", "beta_max"),
    [(interop.to_qwen3_next, 2.0), (interop.to_fla_gated_delta_net, 1.5)],
)
def test_beta_max_that_a_module_does_not_have_is_not_exported(to_weights, beta_max):
    block = blocks.gated_delta_net_block(7, 15, num_heads=3, key_size=2, beta_max=beta_max, key=KEY)
    with pytest.raises(ValueError, match=rf"^a block with beta_max={beta_max}.\n  Expected: 1.+\n"):
        to_weights(block)


def test_keys_that_a_module_does_not_have_are_not_exported():
    block = blocks.mesa_net_block(7, 6, num_heads=3, key_size=5, key=KEY)
    with pytest.raises(ValueError, match=r"^a block with key_size=5.\n  Expected: 2, .+\n"):
        interop.to_fla_mesa_net(block)


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
        (lambda: blocks.mamba_block(3, 0, key=KEY), "hidden_size=0"),
        (lambda: blocks.falcon_mamba_block(3, 4, rank=0, key=KEY), "rank=0"),
        (lambda: blocks.falcon_mamba_block(3, 4, eps=0.0, key=KEY), "eps=0.0"),
        (lambda: blocks.mamba3_block(3, 5, num_heads=2, key=KEY), "got 2 heads for a size of 5"),
        (
            lambda: blocks.mamba3_block(3, 6, num_heads=2, num_angles=2, key=KEY),
            "num_angles=2 for key_size=3",
        ),
        (lambda: blocks.mamba3_block(3, 6, num_heads=3, rank=0, key=KEY), "rank=0"),
        (
            lambda: blocks.mamba3_block(3, 6, num_heads=3, num_groups=2, key=KEY),
            "num_groups=2 for num_heads=3",
        ),
        (lambda: blocks.gla_block(3, 5, num_heads=2, key=KEY), "got 2 heads for a size of 5"),
        (lambda: blocks.gla_block(3, 4, num_heads=2, rank=0, key=KEY), "rank=0"),
        (lambda: blocks.mesa_net_block(3, 5, num_heads=2, key=KEY), "got 2 heads for a size of 5"),
        (lambda: blocks.mesa_net_block(3, 6, num_heads=2, width=0, key=KEY), "width=0"),
        (lambda: blocks.mesa_net_block(3, 6, num_heads=2, solver=30, key=KEY), "solver=30"),
        (lambda: blocks.gsa_block(3, 5, num_heads=2, key=KEY), "got 2 heads for a size of 5"),
        (lambda: blocks.gsa_block(3, 4, num_heads=2, num_slots=0, key=KEY), "num_slots=0"),
        (lambda: blocks.xlstm_block(3, 5, num_heads=2, key=KEY), "got 2 heads for a size of 5"),
        (lambda: blocks.griffin_block(3, 5, num_heads=2, key=KEY), "got 2 heads for a size of 5"),
        (lambda: blocks.griffin_block(0, 4, num_heads=2, key=KEY), "input_size=0"),
        (lambda: blocks.griffin_block(3, 4, num_heads=2, width=1, key=KEY), "width=1"),
        (lambda: blocks.xlstm_block(0, 4, num_heads=2, key=KEY), "input_size=0"),
        (
            lambda: blocks.gated_delta_net_2_block(3, 10, num_heads=5, num_key_heads=2, key=KEY),
            "num_key_heads=2 for num_heads=5",
        ),
        (
            lambda: blocks.gated_delta_net_2_block(3, 4, num_heads=2, beta_max=3.0, key=KEY),
            "beta_max=3.0",
        ),
        (lambda: blocks.comba_block(3, 5, num_heads=2, key=KEY), "got 2 heads for a size of 5"),
        (lambda: blocks.comba_block(3, 4, num_heads=2, key_size=0, key=KEY), "key_size=0"),
        (lambda: blocks.rwkv6_block(5, num_heads=2, key=KEY), "got 2 heads for a size of 5"),
        (lambda: blocks.rwkv6_block(4, num_heads=2, mix_rank=0, key=KEY), "mix_rank=0"),
        (
            lambda: blocks.preconditioned_gated_delta_net_block(
                3, 4, num_heads=2, beta_max=3.0, key=KEY
            ),
            "beta_max=3.0",
        ),
        (
            lambda: blocks.preconditioned_kda_block(3, 4, num_heads=2, key_size=0, key=KEY),
            "key_size=0",
        ),
        (
            lambda: blocks.lightning_attention_block(3, 4, num_heads=2, layer=1, key=KEY),
            "layer=1 of num_layers=1",
        ),
        (lambda: blocks.delta_net_block(3, 5, num_heads=2, key=KEY), "got 2 heads for a size of 5"),
        (lambda: blocks.delta_net_block(3, 4, num_heads=2, beta_max=3.0, key=KEY), "beta_max=3.0"),
        (lambda: blocks.kda_block(3, 5, num_heads=2, key=KEY), "got 2 heads for a size of 5"),
        (lambda: blocks.kda_block(3, 4, num_heads=2, key_size=0, key=KEY), "key_size=0"),
        (lambda: blocks.rwkv7_feed_forward_block(3, 0, key=KEY), "hidden_size=0"),
        (lambda: blocks.rwkv7_body(6, num_layers=0, num_heads=2, key=KEY), "num_layers=0"),
        (lambda: blocks.rwkv7_body(6, num_layers=1, num_heads=0, key=KEY), "num_heads=0"),
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


def test_rwkv7_block_has_a_rank_for_each_of_its_matrices():
    ranks = blocks.RWKV7Ranks(w=2, a=3, g=5, nu=7)
    make = lambda ranks: blocks.rwkv7_block(  # noqa: E731
        6, num_heads=2, rank=ranks, first_layer=False, key=KEY
    )
    upper = eqx.filter_eval_shape(make, ranks).layers[1]
    parts = upper.core.w, upper.core.a, upper.core.g, upper.nu
    assert [part.V.shape[0] for part in parts] == [part.W.shape[1] for part in parts] == [*ranks]
    with pytest.raises(ValueError, match=r"(?s)a_rank=0.+\n  Expected: .+\n  What to do: "):
        make(ranks._replace(a=0))


@pytest.mark.slow
def test_rwkv7_body_keeps_every_law():
    cell = blocks.rwkv7_body(6, 5, num_layers=1, num_heads=3, rank=2, key=KEY)
    x = np.zeros(6, np.float32)
    report = seqmem.testing.check_cell(cell, x, methods=[layers.LayerByLayer()])
    assert set(report.values()) == {"holds"}


@pytest.mark.slow
def test_upper_rwkv7_block_keeps_the_laws_of_time():
    cell = blocks.rwkv7_block(6, num_heads=3, rank=5, first_layer=False, key=KEY)
    check_laws_of_time(cell, [layers.LayerByLayer()], (np.zeros(6, np.float32),) * 2)
