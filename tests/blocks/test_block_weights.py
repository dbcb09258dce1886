"""Blocks exchange weights with the modules of their authors, and refuse others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmem import blocks, interop
from tests.helpers.blocks import BLOCKS, every_block, make_block, weights

KEY = jax.random.key(0)


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
