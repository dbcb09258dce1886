"""The transition of a stretch of time is what the loop does to a state: what `Sharded` composes,
tested without devices.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem
from tests.helpers.given_writes import HEADS, KINDS, Kind, draw_cell, gentle
from tests.helpers.slow import slow

pytestmark = pytest.mark.usefixtures("float64")

TIME, FIRST = 13, 6
# Where each sequence of the batch has its resets; the first half is steps 0 to 5.
RESETS = ([], [4], [9], [2, 11], [0, 6, 12])
BATCH = len(RESETS)


def problem_of(cell, state, write, resets, *, reverse=False):
    flags = seqmem.StepFlags(reset=resets)
    return seqmem.Problem(cell, cell.init_state(), state, write, flags, 1, reverse)


def draw_problem(kind, *, reverse=False):
    cell, state, write = draw_cell(KINDS[kind], gentle, TIME, BATCH)
    resets = np.zeros((TIME, BATCH), bool)
    for example, steps in enumerate(RESETS):
        resets[steps, example] = True
    return problem_of(cell, state, write, jnp.asarray(resets), reverse=reverse)


def halves_of(problem):
    """The problems of both halves, the one that is run first at the front."""
    halves = []
    for half in (slice(None, FIRST), slice(FIRST, None)):
        write, flags = jax.tree.map(lambda leaf, half=half: leaf[half], problem.steps)
        halves.append(problem.replace(inputs=write, flags=flags))
    return halves[::-1] if problem.reverse else halves


def run_loop(problem):
    return seqmem.ReferenceScan().run(problem).state


def rule_of(problem):
    return problem.cell.family.transition


def memory_of(state):
    """S itself: with gains the scale is not unique."""
    matrix = np.asarray(state.matrix)
    if state.log_scale is None:
        return matrix
    return matrix * np.exp(np.asarray(state.log_scale))[..., None]


def assert_same_memory(got, want):
    np.testing.assert_allclose(memory_of(got), memory_of(want), rtol=1e-11, atol=1e-11)


KINDS_OF_RULES = [
    "delta rule, decay per channel",
    slow("decay per channel"),
    slow("several writes"),
    slow("gains"),
    slow("reading before, decay per channel"),
    slow("gated delta rule, momentum"),
]


@pytest.mark.parametrize("reverse", [slow(False), True])
@pytest.mark.parametrize("kind", KINDS_OF_RULES)
def test_composed_transitions_match_the_loop_with_resets_in_each_half(kind, reverse):
    problem = draw_problem(kind, reverse=reverse)
    rule = rule_of(problem)

    @jax.jit
    def compute(problem):
        first, second = (rule.of(half) for half in halves_of(problem))
        return {
            "loop": run_loop(problem),
            "whole": rule.apply(rule.of(problem), problem.state),
            "composed": rule.apply(rule.compose(first, second), problem.state),
            "applied in turn": rule.apply(second, rule.apply(first, problem.state)),
        }

    states = compute(problem)
    for name in ("whole", "composed", "applied in turn"):
        assert_same_memory(states[name], states["loop"])


@pytest.mark.parametrize("decay", [None, "head"])
def test_transition_of_writes_with_gains_has_a_scale_for_each_head(decay):
    cell, state, write = draw_cell(Kind(decay, has_gains=True), gentle, TIME, BATCH)
    problem = problem_of(cell, state, write, jnp.zeros((TIME, BATCH), bool))
    scale = jax.eval_shape(rule_of(problem).of, problem).scale
    assert scale.shift.shape == scale.floor.shape == (BATCH, HEADS, 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["delta rule, decay per channel", "gains"])
def test_composition_of_transitions_is_associative(kind):
    problem = draw_problem(kind)
    rule = rule_of(problem)

    @jax.jit
    def compute(problem):
        first, rest = halves_of(problem)
        second, third = halves_of(rest)
        a, b, c = rule.of(first), rule.of(second), rule.of(third)
        left = rule.compose(rule.compose(a, b), c)
        right = rule.compose(a, rule.compose(b, c))
        return rule.apply(left, problem.state), rule.apply(right, problem.state), run_loop(problem)

    left, right, loop = compute(problem)
    assert_same_memory(left, loop)
    assert_same_memory(right, loop)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["delta rule, decay per channel", "gains"])
def test_reset_in_either_half_hides_a_state_that_is_not_finite(kind):
    problem = draw_problem(kind)
    rule = rule_of(problem)
    bad = problem.replace(
        state=jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), problem.state)
    )

    @jax.jit
    def compute(problem):
        first, second = (rule.of(half) for half in halves_of(problem))
        return rule.apply(rule.compose(first, second), problem.state)

    got, want = memory_of(compute(bad)), memory_of(run_loop(problem))
    assert np.isnan(got[0]).all()
    np.testing.assert_allclose(got[1:], want[1:], rtol=1e-11, atol=1e-11)


def test_last_of_equal_gains_has_the_gradient_of_the_composed_log_scale():
    problem = draw_problem("gains without decay")
    zeros = jax.tree.map(jnp.zeros_like, (problem.inputs.log_gain, problem.state, problem.init))
    problem = problem.replace(state=zeros[1], init=zeros[2])

    def last_log_scale(log_gain):
        inputs = problem.inputs._replace(log_gain=log_gain)
        first, second = (
            rule_of(problem).of(half) for half in halves_of(problem.replace(inputs=inputs))
        )
        composed = rule_of(problem).compose(first, second)
        return rule_of(problem).apply(composed, problem.state).log_scale.sum()

    gradient = jax.jit(jax.grad(last_log_scale))(zeros[0])
    np.testing.assert_array_equal(gradient[:-1], 0)
    np.testing.assert_array_equal(gradient[-1], 1)
