"""All states of an affine recurrence at once are those of one step after another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.helpers.slow import slow

import seqmem
from seqmem._methods.recurrence import affine_states

SIZE = 3

pytestmark = pytest.mark.usefixtures("float64")


def one_by_one(a, b, start, cut, reverse):
    def step(state, here):
        a, b, cut = here
        state = jnp.where(cut, b, a * state + b)
        return state, state

    return jax.lax.scan(step, start, (a, b, cut), reverse=reverse)[1]


def numbers(time, complex_):
    keys = jax.random.split(jax.random.key(time), 4)

    def draw(key, *shape):
        drawn = jax.random.normal(key, (2, *shape))
        return jax.lax.complex(*drawn) if complex_ else drawn[0]

    shapes = (time, SIZE), (time, SIZE), (SIZE,)
    cut = jax.random.normal(keys[3], (time, SIZE)) > 1
    return [draw(key, *shape) for key, shape in zip(keys, shapes, strict=False)], cut


@pytest.mark.parametrize("block", [None, 1, 4])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("time", [1, slow(3), slow(4), 5, 23])
def test_states_and_derivatives_are_those_of_a_loop(time, complex_, reverse, block):
    values, cut = numbers(time, complex_)

    def blocks(*args):
        return affine_states(*args, cut, reverse=reverse, block=block)

    def loop(*args):
        return one_by_one(*args, cut, reverse)

    def everything(solve):
        def loss(*args):
            return jnp.sum(jnp.sin(jnp.abs(solve(*args)) ** 2))

        def slope(*args):
            return sum(jnp.sum(jnp.abs(d) ** 2) for d in jax.grad(loss, (0, 1, 2))(*args))

        return jax.jit(
            lambda *args: (
                solve(*args),
                jax.grad(loss, (0, 1, 2))(*args),
                jax.jvp(solve, args, args)[1],
                jax.grad(slope)(*args),
            )
        )(*values)

    got, want = everything(blocks), everything(loop)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("block", [None, 2, 4])
def test_nothing_passes_a_cut(block):
    a = jnp.full((9, 2), jnp.nan).at[4:].set(0.5)
    cut = jnp.zeros((9, 2), bool).at[4].set(True)
    states = affine_states(a, jnp.ones((9, 2)), jnp.ones(2), cut, block=block)
    want = [jnp.nan] * 4 + [1, 1.5, 1.75, 1.875, 1.9375]
    np.testing.assert_allclose(states[:, 0], want)


def test_a_cell_of_another_family_is_refused():
    cell = seqmem.GRU(2, 3, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"(?s)Parallel got .*GRU.*Newton\(\).*Scan\(\)"):
        seqmem.unroll(cell, cell.init_state(), jnp.ones((5, 2)), method=seqmem.Parallel())


class Counting(seqmem.AbstractDiagonalCell):
    """A promise that integers cannot keep."""

    def init_state(self):
        return jnp.zeros(3, jnp.int32)

    def project(self, x):
        raise AssertionError("traced")

    def update(self, state, drive):
        return state + 1

    def readout(self, state, drive):
        return state


@pytest.mark.parametrize("method", [seqmem.Scan(), seqmem.Parallel()], ids=repr)
def test_a_diagonal_cell_with_integers_is_refused_before_it_is_traced(method):
    cell = Counting()
    with pytest.raises(ValueError, match=r"(?s)int32.*Expected: .*What to do: "):
        seqmem.unroll(cell, cell.init_state(), jnp.ones((5, 2)), method=method)


def test_a_block_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"(?s)block=0.*Expected: .*What to do: "):
        seqmem.Parallel(chunk_size=0)
