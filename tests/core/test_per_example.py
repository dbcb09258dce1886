"""`PerExample`: parts of a cell that differ between the examples of a batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.slow import slow_but

TIME, BATCH, INPUT, HIDDEN = 7, 3, 2, 5


class MaskedGRU(seqmem.AbstractGatedCell):
    cell: seqmem.GRU
    mask: jax.Array | seqmem.PerExample

    def init_state(self):
        return self.cell.init_state()

    def project(self, x):
        return self.cell.project(x)

    def mix(self, state, drive):
        return self.cell.mix(self.mask * state, drive)

    def gate(self, state, z):
        return self.cell.gate(state, z)

    def readout(self, state, drive):
        return self.mask * state


class MaskedMinGRU(seqmem.AbstractDiagonalCell):
    cell: seqmem.MinGRU
    mask: jax.Array | seqmem.PerExample

    def init_state(self):
        return self.cell.init_state()

    def project(self, x):
        return self.cell.project(self.mask[:INPUT] * x), self.mask

    def update(self, state, drive):
        (z, candidate), mask = drive
        return self.cell.update(state, (z * mask, candidate))

    def readout(self, state, drive):
        return self.mask * state


class MaskedDeltaRule(seqmem.AbstractFastWeightCell):
    cell: seqmem.DeltaRule
    mask: jax.Array | seqmem.PerExample

    def init_state(self):
        return self.cell.init_state()

    def project(self, x):
        return self.cell.project(self.mask[:INPUT] * x)

    def output(self, reading, extra):
        return self.mask[0] * self.cell.output(reading, extra)


class MaskedConv(seqmem.AbstractWindowCell):
    cell: seqmem.CausalConv
    mask: jax.Array | seqmem.PerExample

    def init_state(self):
        return self.cell.init_state()

    def project(self, x):
        return self.cell.project(self.mask[:INPUT] * x)

    def readout(self, state, drive):
        return self.mask * self.cell.readout(state, drive)

    def readout_sequence(self, history, drives):
        return self.mask * self.cell.readout_sequence(history, drives)


class MaskedMGU(seqmem.AbstractCell):
    cell: seqmem.MGU
    mask: jax.Array | seqmem.PerExample

    def init_state(self):
        return self.cell.init_state()

    def project(self, x):
        return self.cell.project(x)

    def update(self, state, drive):
        return self.cell.update(self.mask * state, drive)

    def readout(self, state, drive):
        return self.cell.readout(state, drive)


KEY = jax.random.key(0)
CELLS = {
    "gated": lambda: functools.partial(MaskedGRU, seqmem.GRU(INPUT, HIDDEN, key=KEY)),
    "diagonal": lambda: functools.partial(MaskedMinGRU, seqmem.MinGRU(INPUT, HIDDEN, key=KEY)),
    "fast weights": lambda: functools.partial(
        MaskedDeltaRule, seqmem.DeltaRule(INPUT, HIDDEN, num_heads=1, key=KEY)
    ),
    "window": lambda: functools.partial(
        MaskedConv, seqmem.CausalConv(INPUT, HIDDEN, width=3, key=KEY)
    ),
    "plain": lambda: functools.partial(MaskedMGU, seqmem.MGU(INPUT, HIDDEN, key=KEY)),
    "stack": lambda: (
        lambda mask: seqmem.layers.Stack(
            [
                seqmem.GRU(INPUT, INPUT, key=KEY),
                MaskedGRU(seqmem.GRU(INPUT, HIDDEN, key=KEY), mask),
            ]
        )
    ),
}
METHODS = {
    "default": (None, None),
    "reference": (seqmem.ReferenceScan(), None),
    "recompute in segments": (seqmem.Scan(recompute=True), 3),
    "parallel": (seqmem.Parallel(chunk_size=4), None),
    "newton": (seqmem.Newton(chunk_size=4), None),
    "quasi-newton": (seqmem.QuasiNewton(chunk_size=4), None),
}
RUNS = [
    (cell, method)
    for cell in CELLS
    for method in METHODS
    if (method != "parallel" or cell in ("diagonal", "fast weights", "window"))
    and ("newton" not in method or cell in ("gated", "diagonal"))
]


def is_per_example(node):
    return isinstance(node, seqmem.PerExample)


def draw_arguments():
    rng = np.random.default_rng(0)
    masks = jnp.asarray(rng.uniform(0.2, 1, (BATCH, HIDDEN)))
    xs = jnp.asarray(rng.normal(size=(TIME, BATCH, INPUT)))
    lengths = jnp.array([TIME, 0, 4])
    resets = jnp.asarray(rng.random((TIME, BATCH)) < 0.2)
    return masks, xs, lengths, resets


QUICK = {
    *(("gated", method) for method in ("default", "newton")),
    *((name, "default") for name in ("diagonal", "plain")),
}


@pytest.mark.parametrize(("name", "method"), slow_but(QUICK, RUNS))
@pytest.mark.usefixtures("float64")
def test_per_example_matches_one_run_per_example(name, method):
    make = CELLS[name]()
    method, remat_every = METHODS[method]
    masks, xs, lengths, resets = draw_arguments()
    model = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), make(seqmem.PerExample(masks)))

    def batched(model, xs):
        options = {"method": method, "remat_every": remat_every}
        return seqmem.unroll(model, None, xs, lengths=lengths, resets=resets, **options)

    def one_by_one(model, xs):
        def run(i):
            def select(node):
                return node.value[i] if is_per_example(node) else node

            cell = jax.tree.map(select, model, is_leaf=is_per_example)
            flags = {"lengths": lengths[i], "resets": resets[:, i]}
            return seqmem.unroll(cell, None, xs[:, i], method=seqmem.ReferenceScan(), **flags)

        states, ys = zip(*map(run, range(BATCH)), strict=True)
        return jax.tree.map(lambda *a: jnp.stack(a), *states), jnp.stack(ys, 1)

    @functools.partial(jax.jit, static_argnums=0)
    def values_and_gradients(run, model, xs):
        out, pull = jax.vjp(run, model, xs)
        rng = np.random.default_rng(1)
        return out, pull(jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), out))

    got, want = (
        jax.tree.leaves(values_and_gradients(run, model, xs)) for run in (batched, one_by_one)
    )
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_per_example_may_have_two_batch_axes():
    masks = np.random.default_rng(0).uniform(size=(2, BATCH, HIDDEN)).astype(np.float32)
    xs = jnp.ones((TIME, 2, BATCH, INPUT))
    make = CELLS["gated"]()
    _, ys = seqmem.unroll(make(seqmem.PerExample(masks)), None, xs)
    _, alone = seqmem.unroll(make(masks[1, 2]), None, xs[:, 1, 2])
    np.testing.assert_allclose(ys[:, 1, 2], alone, rtol=1e-5)


def test_per_example_of_another_batch_is_refused():
    cell = CELLS["gated"]()(seqmem.PerExample(jnp.ones((BATCH + 1, HIDDEN))))
    with pytest.raises(ValueError, match=r"shape \(4, 5\)[^$]*\(3,\), in front"):
        seqmem.unroll(cell, None, jnp.ones((TIME, BATCH, INPUT)))
