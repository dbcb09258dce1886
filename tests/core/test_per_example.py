"""What a cell holds of every example by itself."""

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


class MaskedDeltaNet(seqmem.AbstractFastWeightCell):
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

    def readout(self, window, drive):
        return self.mask * self.cell.readout(window, drive)

    def over_time(self, past, drives):
        return self.mask * self.cell.over_time(past, drives)


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
        MaskedDeltaNet, seqmem.DeltaRule(INPUT, HIDDEN, 1, key=KEY)
    ),
    "window": lambda: functools.partial(MaskedConv, seqmem.CausalConv(INPUT, HIDDEN, 3, key=KEY)),
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
    "the default": (None, None),
    "autodiff": (seqmem.ReferenceScan(), None),
    "recompute in chunks": (seqmem.Scan(recompute=True), 3),
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


def _is_part(node):
    return isinstance(node, seqmem.PerExample)


def given():
    rng = np.random.default_rng(0)
    masks = jnp.asarray(rng.uniform(0.2, 1, (BATCH, HIDDEN)))
    xs = jnp.asarray(rng.normal(size=(TIME, BATCH, INPUT)))
    lengths = jnp.array([TIME, 0, 4])
    resets = jnp.asarray(rng.random((TIME, BATCH)) < 0.2)
    return masks, xs, lengths, resets


QUICK = {
    *(("gated", method) for method in ("the default", "newton")),
    *((name, "the default") for name in ("diagonal", "plain")),
}


@pytest.mark.parametrize(("name", "method"), slow_but(QUICK, RUNS))
@pytest.mark.usefixtures("float64")
def test_every_example_runs_as_if_it_were_alone_with_its_own_part(name, method):
    make = CELLS[name]()
    method, chunk = METHODS[method]
    masks, xs, lengths, resets = given()
    model = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), make(seqmem.PerExample(masks)))

    def together(model, xs):
        init = model.init_state()
        options = {"method": method, "chunk": chunk}
        return seqmem.unroll(model, init, xs, lengths=lengths, resets=resets, **options)

    def apart(model, xs):
        def alone(i):
            own = lambda node: node.value[i] if _is_part(node) else node  # noqa: E731
            cell = jax.tree.map(own, model, is_leaf=_is_part)
            marks = {"lengths": lengths[i], "resets": resets[:, i]}
            method = seqmem.ReferenceScan()
            return seqmem.unroll(cell, cell.init_state(), xs[:, i], method=method, **marks)

        states, ys = zip(*map(alone, range(BATCH)), strict=True)
        return jax.tree.map(lambda *a: jnp.stack(a), *states), jnp.stack(ys, 1)

    def pulled(run):
        out, pull = jax.vjp(run, model, xs)
        rng = np.random.default_rng(1)
        return out, pull(jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), out))

    for got, want in zip(
        jax.tree.leaves(pulled(together)), jax.tree.leaves(pulled(apart)), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11)


def test_two_batch_axes_have_a_part_each():
    masks = np.random.default_rng(0).uniform(size=(2, BATCH, HIDDEN)).astype(np.float32)
    xs = jnp.ones((TIME, 2, BATCH, INPUT))
    make = CELLS["gated"]()
    state = make(masks).init_state()
    _, ys = seqmem.unroll(make(seqmem.PerExample(masks)), state, xs)
    _, alone = seqmem.unroll(make(masks[1, 2]), state, xs[:, 1, 2])
    np.testing.assert_allclose(ys[:, 1, 2], alone, rtol=1e-5)


def test_a_part_without_the_batch_is_refused():
    cell = CELLS["gated"]()(seqmem.PerExample(jnp.ones((BATCH + 1, HIDDEN))))
    with pytest.raises(ValueError, match=r"shape \(4, 5\)[^$]*\(3,\), in front"):
        seqmem.unroll(cell, cell.init_state(), jnp.ones((TIME, BATCH, INPUT)))
