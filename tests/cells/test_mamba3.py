"""Mamba-3: its memory matches the recurrence of jax-linear-attention, which was run by
tests/reference/make_mamba3_recurrences.py; its chunks match single steps; its rotation lasts.
"""

import functools
import pathlib
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from seqmem._cells.fast_weights.mamba3 import trapezoid
from seqmem._cells.fast_weights.mamba3_steps import Mamba3Rotation, Step, StepPair, mamba3_sizes
from seqmem.layers import LayerByLayer, Stack
from tests.helpers.fast_weights import assert_trees_close
from tests.helpers.slow import slow_but

with np.load(pathlib.Path(__file__).parent.parent / "reference" / "mamba3_recurrences.npz") as file:
    REFERENCE = dict(file)
RANKS = {"SISO": 1, "MIMO": 3}
RESETS = [8, 11]  # where the segments of the reference begin
INPUTS = ("query", "key", "value", "log_decay", "late", "gamma")
OF_RANK = ("query", "key", "value", "key_before", "value_before", "outputs")
SIZES = {"key_size": 5, "num_groups": 1, "rank": 1, "num_angles": None}
TIME, LENGTHS = 200, np.array([0, 1, 2, 63, 64, 65, 200])
key = jax.random.key(0)


class GivenSteps(seqmem.AbstractWindowCell):
    """Steps that are the inputs, for `GivenMemory`, which also gets the step before."""

    input_shape: Any = eqx.field(static=True)
    before: Step

    def init_state(self):
        return jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), self.before)

    def project(self, x):
        query, key, value, log_decay, late, gamma = x
        return Step(key, value, gamma), (query, log_decay, late)

    def readout(self, window, u):
        now, extra = u
        return StepPair(extra[0][0, 0], *extra, now, jax.tree.map(lambda leaf: leaf[0], window))

    def readout_sequence(self, history, u):
        now, extra = u
        return StepPair(extra[0][:, 0, 0], *extra, now, history.shifted(1))


class GivenMemory(seqmem.AbstractFastWeightCell):
    """The memory of Mamba-3, its readings being the outputs."""

    input_shape: Any = eqx.field(static=True)
    learned: seqmem.Memory

    def init_state(self):
        return self.learned

    def project(self, x):
        return trapezoid(x)

    def output(self, reading, extra):
        return reading + extra


def given_steps(inputs, memory, before):
    """A network of both, given arrays [time, ...] to say their shapes."""
    shapes = tuple((None,) * (leaf.ndim - 1) for leaf in inputs)
    step = Step._make([(None,) * 3, (None,) * 3, (None,)])
    pair = StepPair._make([(None,), (None,) * 3, (None,), (None,), step, step])
    return Stack([GivenSteps(shapes, before), GivenMemory(pair, memory)])


METHODS = {
    "step by step": seqmem.ReferenceScan(),
    "chunks of 8": LayerByLayer(None, seqmem.Parallel(chunk_size=8)),
}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("method", slow_but({}, METHODS))
@pytest.mark.parametrize("name", slow_but({"MIMO"}, RANKS))
def test_memory_matches_the_recurrence_of_jax_linear_attention(name, method):
    """Values and gradients, with a given state, resets to an empty one, and decays to nothing."""
    resets = jnp.zeros(19, bool).at[np.array(RESETS)].set(True)

    def arrays(names, prefix=""):
        found = {own: jnp.asarray(REFERENCE[prefix + own]) for own in names}
        of_rank = {own for own in found if own in OF_RANK}
        return found | {own: found[own][..., : RANKS[name], :] for own in of_rank}

    def run(given):
        inputs = tuple(given[own] for own in INPUTS)
        before = Step(given["key_before"], given["value_before"], jnp.zeros(2))
        memory = seqmem.Memory(given["state"].mT[:, None])
        empty = jax.tree.map(jnp.zeros_like, (memory, before))
        window = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), before)
        (window, memory), ys = seqmem.unroll(
            given_steps(inputs, *empty),
            (window, memory),
            inputs,
            resets=resets,
            method=METHODS[method],
        )
        last = jax.tree.map(lambda leaf: leaf[-1], window)
        written = jnp.einsum("h,hrk,hrv->hkv", last.weight, last.key, last.value)
        return {"outputs": ys, "final state": memory.matrix[:, 0].mT + written}

    @jax.jit
    @jax.vmap
    def compute(given, weights):
        found, pull = jax.vjp(run, given)
        return found, pull(weights)[0]

    given = arrays((*INPUTS, "state", "key_before", "value_before"))
    found, gradients = compute(given, arrays(("outputs", "final state"), "weight of "))
    found |= {f"gradient of {own}": array for own, array in gradients.items()}
    for own, array in found.items():
        want = REFERENCE[f"{name}: {own}"]
        np.testing.assert_allclose(array.reshape(want.shape), want, rtol=0, atol=1e-12)


SINGLE = {
    "−10": lambda rng, shape: np.full(shape, -10.0),
    "0 and −1000": lambda rng, shape: rng.choice([0.0, -1000.0], shape),
    "0 and −∞": lambda rng, shape: rng.choice([0.0, -np.inf], shape),
}


@pytest.mark.slow
@pytest.mark.parametrize("draw_log_decay", SINGLE)
def test_strong_decays_lose_no_digit_in_single_precision(draw_log_decay):
    rng = np.random.default_rng(3)
    shapes = [(2, 3, 5), (2, 3, 5), (2, 3, 7), (2,), (2,)]
    q, k, v, late, gamma = (rng.normal(size=(TIME, *shape)) for shape in shapes)
    log_decay = SINGLE[draw_log_decay](rng, (TIME, 2))
    inputs = tuple(
        jnp.asarray(leaf, jnp.float32) for leaf in (q, k, v, log_decay, np.abs(late), np.abs(gamma))
    )
    memory = seqmem.Memory(jnp.ones((2, 1, 7, 5)))
    before = Step(jnp.ones((2, 3, 5)), jnp.ones((2, 3, 7)), jnp.ones(2))

    @functools.partial(jax.jit, static_argnums=0)
    def outputs_and_gradients(method, *args):
        def run(inputs, memory, before):
            return seqmem.unroll(given_steps(inputs, memory, before), None, inputs, method=method)

        out, pull = jax.vjp(run, *args)
        return out, pull(jax.tree.map(jnp.cos, out))

    want = outputs_and_gradients(seqmem.ReferenceScan(), inputs, memory, before)
    got = outputs_and_gradients(LayerByLayer(seqmem.Parallel()), inputs, memory, before)
    assert_trees_close(got, want, 1e-5)


CELLS = {
    "SISO": lambda: seqmem.Mamba3(3, 8, num_heads=2, key_size=5, key=key),
    "MIMO": lambda: seqmem.Mamba3(
        3, 8, num_heads=4, key_size=5, num_groups=2, rank=2, num_angles=1, key=key
    ),
}


def to_numpy(tree):
    return jax.tree.map(np.asarray, tree)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("decay", ["gentle", "strong"])
@pytest.mark.parametrize("name", CELLS)
def test_chunks_match_single_steps(name, decay):
    """Values and gradients, with lengths, resets at borders of chunks, and learned states."""
    rng, cell = np.random.default_rng(3), CELLS[name]()
    if decay == "strong":  # log-decays down to −2000
        cell = eqx.tree_at(lambda cell: cell.layers[1].W_A, cell, replace_fn=lambda W: 20_000 * W)

    def drawn(leaf, *batch):
        noise = rng.normal(size=(2, *batch, *leaf.shape))
        return jnp.asarray(leaf + (noise[0] + 1j * noise[1] if np.iscomplexobj(leaf) else noise[0]))

    parts = tuple(
        seqmem.with_learned_state(part, jax.tree.map(drawn, to_numpy(part.init_state())))
        for part in cell.layers
    )
    cell = eqx.tree_at(lambda cell: cell.layers, cell, parts)
    state = jax.tree.map(lambda leaf: drawn(leaf, len(LENGTHS)), to_numpy(cell.init_state()))
    resets = np.zeros((TIME, len(LENGTHS)), bool)
    resets[[0, 15, 16, 17, 63, 64, 65, 128], 3:6] = True

    @functools.partial(jax.jit, static_argnums=0)
    def outputs_and_gradients(method, cell, state, xs):
        def run(cell, state, xs):
            flags = {"lengths": LENGTHS, "resets": jnp.asarray(resets)}
            return seqmem.unroll(cell, state, xs, **flags, method=method)

        out, pull = jax.vjp(run, cell, state, xs)
        return out, pull(jax.tree.map(jnp.cos, out))

    xs = jnp.asarray(rng.normal(size=(TIME, len(LENGTHS), 3)))
    want = outputs_and_gradients(seqmem.ReferenceScan(), cell, state, xs)
    for chunk_size in (16, 64):
        method = LayerByLayer(seqmem.Parallel(chunk_size=chunk_size))
        assert_trees_close(outputs_and_gradients(method, cell, state, xs), want, 1e-9)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_rotation_in_single_precision_lasts():
    """10⁵ steps of different angles, also of a state that rounding has made longer."""
    rng = np.random.default_rng(3)
    rotation = Mamba3Rotation(mamba3_sizes("Mamba3", 3, 4, 2, **SIZES), key=key)
    xs = jnp.asarray(rng.normal(size=(10**5, 3)))
    start = 2 * rotation.init_state()
    _, want = seqmem.unroll(rotation, start, xs, method=seqmem.Parallel())
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), rotation)
    _, got = seqmem.unroll(single, start.astype(jnp.complex64), xs.astype(jnp.float32))
    assert got.z.dtype == jnp.complex64
    np.testing.assert_allclose(np.abs(got.z), 1, rtol=0, atol=1e-6)
    np.testing.assert_allclose(got.z, want.z, rtol=0, atol=1e-3)


def test_rotation_from_a_state_of_zeros_has_finite_gradients_in_single_precision():
    rotation = Mamba3Rotation(mamba3_sizes("Mamba3", 3, 4, 2, **SIZES), key=key)
    rotation = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), rotation)
    state = jax.tree.map(jnp.zeros_like, rotation.init_state())
    steps = rotation.project(jnp.ones(3, jnp.float32))

    def total(state):
        z = rotation.readout(state, steps).z
        return jnp.sum(z.real + z.imag)

    assert jnp.isfinite(jax.grad(total)(state)).all()
