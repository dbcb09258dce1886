"""The backward pass, counted in the lowered program: one product per step, weights outside."""

import math
import re

import jax
import jax.numpy as jnp
import pytest

import seqmem
from seqmem._methods.scan.vjp_rules import tiles_of_products
from tests.helpers.programs import lowered

T, B, D, H = 64, 11, 5, 7
PLATFORMS = {"cpu": "cpu", "cuda": "gpu"}
TILES = {name: tiles_of_products(B, H, platform) for name, platform in PLATFORMS.items()}
key = jax.random.key(0)
CELLS = {
    "RNN": seqmem.RNN(D, H, key=key),
    "LSTM": seqmem.LSTM(D, H, key=key),
    "PeepholeLSTM": seqmem.PeepholeLSTM(D, H, key=key),
    "GRU": seqmem.GRU(D, H, key=key),
}
xs = jax.ShapeDtypeStruct((T, B, D), jnp.float32)
platforms = pytest.mark.parametrize("platform", PLATFORMS)


def forward(cell, xs):
    return seqmem.unroll(cell, None, xs)[1]


def loss(method):
    def of(cell, xs):
        return jnp.sum(seqmem.unroll(cell, None, xs, method=method)[1] ** 2)

    return of


@platforms
@pytest.mark.parametrize("name", CELLS)
def test_forward_pass_makes_one_product_per_step_and_one_projection_per_tile(name, platform):
    (loop,) = lowered(forward, CELLS[name], xs, platform=platform).innermost
    assert loop.products == TILES[platform].forward + 1


@platforms
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_backward_pass_makes_one_product_per_step(name, recompute, platform):
    method = seqmem.Scan(recompute=recompute)
    program = lowered(jax.grad(loss(method)), CELLS[name], xs, platform=platform)
    ahead, back = program.innermost
    assert ahead.products == TILES[platform].forward + 1
    assert back.products == TILES[platform].backward_unroll


@platforms
def test_weight_and_input_gradients_are_products_of_a_tile(platform):
    cell = CELLS["LSTM"]

    def per_tile(recompute):
        method = seqmem.Scan(recompute=recompute, tile=16)
        program = lowered(jax.grad(loss(method), (0, 1)), cell, xs, platform=platform)
        outer = program.inner[-1]
        assert len(outer.innermost) == 1
        return outer.products

    saved, recomputed = per_tile(False), per_tile(True)
    # Some counted products are dead code: projections of which only the transposes are used.
    assert saved == 3
    assert recomputed == 5


@platforms
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_no_weight_is_carried_from_step_to_step_of_the_backward_loop(name, recompute, platform):
    cell = CELLS[name]
    method = seqmem.Scan(recompute=recompute)
    back = lowered(jax.grad(loss(method)), cell, xs, platform=platform).innermost[-1]
    weights = {tuple(sorted(leaf.shape)) for leaf in jax.tree.leaves(cell) if leaf.ndim > 1}
    assert not weights & {tuple(sorted(shape)) for shape in back.carried}


def test_reference_scan_has_more_products_per_step():
    program = lowered(jax.grad(loss(seqmem.ReferenceScan())), CELLS["LSTM"], xs, platform="cpu")
    back = program.innermost[-1]
    assert back.products > 1
    assert (4, H, H) in back.carried


def saved_entries(cell, method):
    """Entries per step and example of what the forward pass saves over time."""

    def pull(cell, xs):
        return jax.vjp(lambda cell, xs: seqmem.unroll(cell, None, xs, method=method)[1], cell, xs)[
            1
        ]

    residuals = jax.tree.leaves(jax.eval_shape(pull, cell, xs))
    over_time = [leaf for leaf in residuals if leaf.ndim and leaf.shape[:2] == (T, B)]
    inputs = [leaf for leaf in over_time if leaf.shape == xs.shape]
    assert len(inputs) == 1
    return sum(leaf.size for leaf in over_time if leaf.shape != xs.shape) // (T * B * H)


@pytest.mark.parametrize("name", CELLS)
def test_scan_saves_the_states_and_by_default_the_pre_activations(name):
    cell = CELLS[name]
    states = len(jax.tree.leaves(cell.init_state()))
    pre_activations = {"RNN": 1, "LSTM": 4, "PeepholeLSTM": 4, "GRU": 4}[name]
    assert saved_entries(cell, seqmem.Scan(recompute=True)) == states
    assert saved_entries(cell, seqmem.Scan()) == states + pre_activations


@pytest.mark.optimised
@pytest.mark.parametrize(
    ("name", "program"),
    [("LSTM", forward), ("GRU", forward), ("RNN", jax.grad(loss(None)))],
    ids=["LSTM", "GRU", "gradient of an RNN"],
)
def test_no_step_copies_the_weights(name, program):
    """Neither in the body of the innermost loops, nor within an operation that is a product."""
    cell = getattr(seqmem, name)(16, 64, key=key)
    compiled = jax.jit(program).lower(cell, jnp.zeros((100, 1, 16))).compile().as_text()
    bodies = set(re.findall(r"body=%?([\w.\-]+)", compiled))
    computations = [
        text
        for text in re.split(r"\n(?=\S)", compiled)
        if text.lstrip("%").split(" ")[0] in bodies or " dot(" in text
    ]
    innermost = [text for text in computations if " while(" not in text]
    assert innermost
    for text in innermost:
        for shape, operation in re.findall(r"= f32\[([\d,]+)\]\S* ([\w\-]+)\(", text):
            if operation not in ("get-tuple-element", "bitcast", "parameter", "dot"):
                size = math.prod(map(int, shape.split(",")))
                assert size != cell.U.size, f"{operation} of f32[{shape}] in a loop"
