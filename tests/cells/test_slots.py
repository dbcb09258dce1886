"""Attention to slots, memories one after the other: in chunks, from learned states, and against
flash-linear-attention, whose numbers in tests/reference/slots.npz make_slots.py wrote.
"""

import functools
import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem.layers import LayerByLayer
from tests.helpers.cells import CELLS
from tests.helpers.fast_weights import assert_trees_close
from tests.helpers.laws import check_laws_of_time
from tests.helpers.slow import slow_but

TIME, INPUT = 200, 3
LENGTHS = np.array([0, 1, 2, 63, 64, 65, 200])
BATCH = len(LENGTHS)
SIZES = {"num_heads": 2, "key_size": 5, "num_slots": 7, "key": jax.random.key(0)}
SLOTS = {"GSA": seqmem.GSA, "ABC": seqmem.ABC}
CHUNKS = LayerByLayer(seqmem.Parallel(chunk_size=16))


def make(name, scale):
    """A cell whose slots' weights have a factor."""
    cell = SLOTS[name](INPUT, 6, **SIZES)

    def weights(cell):
        return cell.layers[0].W_alpha if name == "GSA" else cell.layers[0].W_c

    return eqx.tree_at(weights, cell, scale * weights(cell))


def draw_resets():
    """Resets at borders of chunks, next to them and elsewhere."""
    resets = np.zeros((TIME, BATCH), bool)
    resets[[0, 16, 64, 128], 3:6] = True
    resets[[15, 17, 63, 65, 150], -1] = True
    return jnp.asarray(resets)


@functools.partial(jax.jit, static_argnums=0, static_argnames="reverse")
def outputs_and_gradients(method, cell, state, xs, *, reverse=False):
    """Outputs, final state, and the gradients of the cell, the state and the inputs."""

    def run(cell, state, xs):
        flags = {"lengths": LENGTHS, "resets": draw_resets(), "reverse": reverse}
        return seqmem.unroll(cell, state, xs, method=method, **flags)

    out, pull = jax.vjp(run, cell, state, xs)
    rng = np.random.default_rng(7)
    weights = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), out)
    return out, pull(weights)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("platform", ["cpu", "gpu"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", SLOTS)
@pytest.mark.slow
def test_slots_in_chunks_match_the_reference_scan(name, reverse, platform):
    """Values and gradients, with decays down to e^−100, lengths, resets and a learned state."""
    cell, rng = make(name, {"GSA": 1000, "ABC": 3}[name]), np.random.default_rng(3)
    draw = functools.partial(rng.uniform, 0.5, 1.5)
    init = cell.init_state()
    cell = seqmem.with_learned_state(cell, jax.tree.map(lambda a: jnp.asarray(draw(a.shape)), init))
    state = jax.tree.map(lambda a: jnp.asarray(draw((BATCH, *a.shape))), init)
    xs = jnp.asarray(rng.normal(size=(TIME, BATCH, INPUT)))
    want = outputs_and_gradients(seqmem.ReferenceScan(), cell, state, xs, reverse=reverse)
    with seqmem.target_platform(platform):
        got = outputs_and_gradients(CHUNKS, cell, state, xs, reverse=reverse)
    assert_trees_close(got, want, 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "scale"), [("GSA", 0.0), ("GSA", 8000.0), ("ABC", 100.0)])
def test_strong_decays_lose_no_digit_in_single_precision(name, scale):
    """Log-decays down to −1000, and weights of slots that are clipped. What the gates get is exact:
    a factor of 8000 would else multiply a rounding.
    """
    cell, rng = make(name, scale), np.random.default_rng(3)
    cell = jax.tree.map(lambda leaf: jnp.round(256 * leaf) / 256, cell)
    xs = jnp.asarray(np.round(4 * rng.normal(size=(TIME, BATCH, INPUT))) / 4, jnp.float32)

    @functools.partial(jax.jit, static_argnums=0)
    def run(method, cell, xs):
        def outputs(cell, xs):
            return seqmem.unroll(cell, None, xs, method=method)[1]

        ys, pull = jax.vjp(outputs, cell, xs)
        return ys, pull(jnp.cos(xs[..., :1]) * jnp.ones_like(ys))

    assert_trees_close(run(CHUNKS, cell, xs), run(seqmem.ReferenceScan(), cell, xs), 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["cpu", "gpu"])
@pytest.mark.parametrize("name", SLOTS)
def test_slots_pass_the_laws_in_chunks(name, platform):
    """GSA has what ABC has, and passes every law."""
    method = LayerByLayer(seqmem.Parallel(chunk_size=2))
    with seqmem.target_platform(platform):
        if (name, platform) == ("GSA", "cpu"):
            report = seqmem.testing.check_cell(CELLS[name](), methods=[method])
            assert set(report.values()) == {"holds"}
        else:
            check_laws_of_time(CELLS[name](), [method])


with np.load(pathlib.Path(__file__).parent.parent / "reference" / "slots.npz") as file:
    REFERENCE = {key.removeprefix("ABC: "): file[key] for key in file if key.startswith("ABC: ")}
WEIGHTS = ("q_proj", "k_proj", "s_proj", "v_proj", "o_proj")
METHODS = {"in chunks": CHUNKS, "default": None, "as one cell": seqmem.ReferenceScan()}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("how", slow_but({}, METHODS))
def test_abc_matches_flash_linear_attention_in_outputs_and_gradients(how):
    """Some of the weights of its slots are clipped."""

    def loss(weights, xs):
        cell = seqmem.ABC(12, 12, **SIZES | {"num_heads": 3})
        q, k, s, v, o = weights
        sums, keys, values = cell.layers
        leaves = [sums.W_c, keys.W_q, keys.W_k, values.W_v]
        assert [leaf.shape for leaf in leaves] == [leaf.shape for leaf in (s, q, k, v)]
        cell = eqx.tree_at(
            lambda c: (c.layers[0].W_c, c.layers[1].W_q, c.layers[1].W_k, c.layers[2].W_v),
            cell,
            (s, q, k, v),
        )
        ys = seqmem.unroll(cell, None, xs, method=METHODS[how])[1] @ o.mT
        ys = ys.swapaxes(0, 1)
        return (REFERENCE["weight of outputs"] * ys).sum(), ys

    weights = [jnp.asarray(REFERENCE[f"{name}.weight"]) for name in WEIGHTS]
    xs = jnp.asarray(REFERENCE["inputs"].swapaxes(0, 1))
    assert (abs(xs @ weights[2].mT) > 32).any()
    (d_weights, d_xs), ys = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(weights, xs)
    assert_trees_close(ys, REFERENCE["outputs"], 1e-10)
    assert_trees_close(d_xs.swapaxes(0, 1), REFERENCE["gradient of inputs"], 1e-10)
    for name, d_weight in zip(WEIGHTS, d_weights, strict=True):
        assert_trees_close(d_weight, REFERENCE[f"gradient of {name}.weight"], 1e-10)
