"""A table of weights: what it reads, what it refuses, and how sizes follow from shapes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmem.interop._named_shapes import shape_of, solve_sizes
from seqmem.interop.weight_table import Row, WeightTable, same

HEADS, HEAD, INPUT = 4, 3, 5


class Block(eqx.Module):
    """Parameters with the shapes of a small layer."""

    W: jax.Array
    U: jax.Array
    b: jax.Array
    scale: jax.Array
    num_groups: int = eqx.field(static=True)

    def __init__(self, input_size, num_heads, head_size, num_groups, *, key):
        self.W = jnp.zeros((num_heads * head_size, input_size))
        self.U = jnp.zeros((num_heads, input_size))
        self.b = jnp.ones(num_heads)
        self.scale = jnp.zeros((head_size, 2))
        self.num_groups = num_groups


class Scale(eqx.Module):
    """One parameter."""

    scale: jax.Array

    def __init__(self, size, *, key):
        self.scale = jnp.ones(size)


def interleaved(sizes):
    """Theirs is one row of U after the rows of W of each head."""
    rows = np.arange(sizes["heads"] * (sizes["head"] + 1)).reshape(sizes["heads"], -1)
    return np.concatenate([rows[:, :-1].ravel(), rows[:, -1]])


TABLE = WeightTable(
    make=Block,
    arguments=("input_size=input", "num_heads=heads", "head_size=head", "num_groups"),
    rows=(
        Row(
            {"W": "heads*head input", "U": "heads input"},
            {"proj": "heads+heads*head input"},
            order=interleaved,
        ),
        Row({"b": "heads"}, {}),
        Row(
            {"scale": "head 2"},
            {"scale.0": "head 1", "scale.1": "head 1"},
            to_ours=lambda *columns: jnp.concatenate(columns, 1),
            to_theirs=lambda matrix: matrix.T,
        ),
    ),
    remedy="pass another.",
    static={"num_groups": "num_groups"},
    groups={"num_groups": "heads"},
)

PARTIAL = WeightTable(
    make=Scale,
    arguments=("size",),
    rows=[same("scale", "norm.weight", "size")],
    remedy="pass another.",
    is_partial=True,
)


def draw(*shape):
    return np.random.default_rng(shape).standard_normal(shape).astype("float32")


WEIGHTS = {
    "proj": draw(HEADS * (HEAD + 1), INPUT),
    "scale.0": draw(HEAD, 1),
    "scale.1": draw(HEAD, 1) + 1,
}


def to_ours(weights, num_groups=2):
    return TABLE.to_ours(weights, {"num_groups": num_groups})


def test_table_puts_every_number_in_its_place():
    block = to_ours(WEIGHTS)
    by_head = WEIGHTS["proj"].reshape(HEADS, HEAD + 1, INPUT)
    np.testing.assert_array_equal(block.W, by_head[:, :HEAD].reshape(-1, INPUT))
    np.testing.assert_array_equal(block.U, by_head[:, HEAD])
    np.testing.assert_array_equal(block.scale[:, 0], WEIGHTS["scale.0"][:, 0])
    np.testing.assert_array_equal(block.scale[:, 1], WEIGHTS["scale.1"][:, 0])
    assert block.num_groups == 2


def test_row_without_names_gives_zeros():
    b = to_ours(WEIGHTS).b
    assert b.shape == (HEADS,)
    assert not b.any()


def test_table_writes_what_it_reads():
    weights = TABLE.to_theirs(to_ours(WEIGHTS))
    assert weights.keys() == WEIGHTS.keys()
    for name, array in WEIGHTS.items():
        assert weights[name].base is None  # no view of the block's memory
        np.testing.assert_array_equal(weights[name], array)


def test_gradients_have_the_names_of_the_state_dict():
    def loss(weights):
        block = to_ours(weights)
        return jnp.sum(block.W) + 2 * jnp.sum(block.U) + 3 * jnp.sum(block.scale[:, 1])

    gradients = jax.jit(jax.grad(loss))({name: jnp.asarray(a) for name, a in WEIGHTS.items()})
    by_head = gradients["proj"].reshape(HEADS, HEAD + 1, INPUT)
    assert np.all(by_head[:, :HEAD] == 1)
    assert np.all(by_head[:, HEAD] == 2)
    assert not gradients["scale.0"].any()
    assert np.all(gradients["scale.1"] == 3)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_layer_shares_no_memory_with_a_torch_tensor(dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    tensor = torch.ones(64, dtype=getattr(torch, dtype))
    scale = PARTIAL.to_ours({"norm.weight": tensor}).scale
    tensor.zero_()
    assert scale.dtype == dtype
    assert scale.all()


def test_group_that_is_none_is_the_size_that_it_divides():
    assert to_ours(WEIGHTS, None).num_groups == HEADS


@pytest.mark.parametrize("num_groups", [0, 3, 2.0, -2])
def test_group_that_does_not_divide_is_refused(num_groups):
    with pytest.raises(ValueError, match=rf"^num_groups={num_groups} for heads=4\.\n  Expected: a"):
        to_ours(WEIGHTS, num_groups)


def test_missing_and_unknown_names_are_listed():
    longer = WEIGHTS | {"bias": draw(3)}
    with pytest.raises(ValueError, match=r"(?s)\[\] missing, \['bias'\] unknown.+no others"):
        to_ours(longer)
    del longer["proj"]
    with pytest.raises(ValueError, match=r"(?s)\['proj'\] missing, \['bias'\] unknown.+no others"):
        to_ours(longer)


def test_partial_table_ignores_unknown_names_but_misses_none():
    assert PARTIAL.to_ours({"norm.weight": draw(3), "bias": draw(3)}).scale.shape == (3,)
    with pytest.raises(ValueError, match=r"(?s)\['norm.weight'\] missing.+among them\.\n"):
        PARTIAL.to_ours({"bias": draw(3)})


@pytest.mark.parametrize(
    ("name", "array", "came"),
    [
        ("proj", draw(15, INPUT), "proj has shape (15, 5)."),
        ("scale.1", draw(2, 1), "scale.1 has shape (2, 1)."),
        ("scale.1", draw(HEAD, 2), "scale.1 has shape (3, 2)."),
        ("scale.1", draw(HEAD), "scale.1 is float32 of shape (3,)."),
        ("scale.1", np.ones((HEAD, 1), int), "scale.1 is int64 of shape (3, 1)."),
    ],
)
def test_array_that_does_not_fit_is_refused_by_name(name, array, came):
    with pytest.raises(
        ValueError, match=r"(?s)\n  Expected: .+\n  What to do: pass anot"
    ) as refusal:
        to_ours(WEIGHTS | {name: array}, num_groups=1)
    assert str(refusal.value).startswith(came)


def test_layer_whose_shapes_disagree_is_not_exported():
    block = eqx.tree_at(lambda block: block.U, to_ours(WEIGHTS, 1), jnp.zeros((3, INPUT)))
    with pytest.raises(ValueError, match=r"^W has shape \(12, 5\)\.\n.+\(9, 5\).+heads=3"):
        TABLE.to_theirs(block)


def test_stacked_layers_are_not_exported_as_one():
    block = to_ours(WEIGHTS)
    blocks = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), block)
    with pytest.raises(ValueError, match=r"^W is float32 of shape \(2, 12, 5\)\.\n.+2 axes"):
        TABLE.to_theirs(blocks)


def test_sizes_follow_from_shapes_in_any_order():
    shapes = [("values+2*groups*key 1", (41, 1)), ("heads*value", (21,)), ("heads values", (3, 5))]
    sizes = solve_sizes(shapes, {"groups": 2})
    assert sizes == {"groups": 2, "heads": 3, "values": 5, "key": 9, "value": 7}
    assert shape_of("2*heads+values key 4", sizes) == (11, 9, 4)


def test_size_that_does_not_divide_is_rounded_down_to_no_less_than_zero():
    assert solve_sizes([("heads", (3,)), ("heads*value", (20,))], {})["value"] == 6
    assert solve_sizes([("heads", (3,)), ("heads+value", (2,))], {})["value"] == 0
