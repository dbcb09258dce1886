"""Transitions over stretches of time: what `Sharded` composes, tested without devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.slow import slow, slow_but
from tests.helpers.unrolling import normal

KEY = jax.random.key(0)
TIME, CUT = 8, 5
CELLS = {
    "GILR": lambda: seqmem.GILR(2, 5, key=KEY),
    "QRNN": lambda: seqmem.QRNN(2, 5, key=KEY),
    "LRU": lambda: seqmem.LRU(2, 5, key=KEY),
    "LinOSSIM": lambda: seqmem.LinOSSIM(2, 5, key=KEY),
}


def shares(cell, xs, resets, state):
    """The problem of each of four devices, whose shares are two steps long."""
    return [
        seqmem.Problem(
            cell,
            cell.init_state(),
            state,
            xs[start : start + 2],
            seqmem.StepFlags(reset=resets[start : start + 2]),
        )
        for start in range(0, TIME, 2)
    ]


def run_by_transitions(cell, xs, resets, state):
    rule = cell.family.transition
    transitions = [rule.of(problem) for problem in shares(cell, xs, resets, state)]
    so_far = transitions[0]
    for transition in transitions[1:]:
        so_far = rule.compose(so_far, transition)
    return rule.apply(so_far, state)


POISONS = [np.nan, np.inf, -np.inf]


@pytest.mark.parametrize("poison", [POISONS[0], *map(slow, POISONS[1:])])
@pytest.mark.parametrize("name", slow_but({"GILR"}, CELLS))
def test_nothing_before_a_reset_on_another_share_is_seen_after_it(name, poison):
    cell, state = CELLS[name](), CELLS[name]().init_state()
    xs = normal(TIME, 2).astype(np.float32)
    xs[:CUT] = poison
    resets = jnp.arange(TIME) == CUT

    @functools.partial(jax.jit, static_argnums=1)
    @jax.value_and_grad
    def run_and_differentiate(xs, run):
        return sum(jnp.sum(jnp.abs(leaf) ** 2) for leaf in jax.tree.leaves(run(xs)))

    def alone(xs):
        return seqmem.unroll(cell, None, xs[CUT:])[0]

    def composed(xs):
        return run_by_transitions(cell, xs, resets, state)

    got, d_got = run_and_differentiate(jnp.asarray(xs), composed)
    want, d_want = run_and_differentiate(jnp.asarray(xs), alone)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    np.testing.assert_allclose(d_got[CUT:], d_want[CUT:], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", slow_but({"GILR", "LRU"}, CELLS))
def test_composed_transitions_give_the_state_of_unroll(name):
    cell = CELLS[name]()
    xs = jnp.asarray(normal(TIME, 2), jnp.float32)
    start = jax.tree.map(lambda leaf: leaf + 0.5, cell.init_state())
    resets = jnp.zeros(TIME, bool)
    got = jax.jit(run_by_transitions)(cell, xs, resets, start)
    want, _ = jax.jit(seqmem.unroll)(cell, start, xs)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
