"""The flip-flop of several bits: answers by a loop, and known scores."""

import functools

import jax
import numpy as np
import pytest

from seqmem import tasks
from tests.helpers.refusals import assert_refused

TASK = tasks.BitFlipFlop(11, bits=3, pulse=0.2)
SIZE = 4001


@functools.cache
def examples():
    # XLA takes seconds to optimise random numbers, which take milliseconds to run.
    options = {"xla_backend_optimization_level": 0}
    draw = jax.jit(TASK.batch, static_argnums=1, compiler_options=options)
    return jax.tree.map(np.asarray, draw(jax.random.key(0), SIZE))


def test_answers_are_the_last_pulses():
    inputs, targets, weights = examples()
    assert inputs.shape == targets.shape == (11, SIZE, 3)
    assert (weights == 1).all()
    answer = np.zeros((SIZE, 3))
    for step in range(11):
        answer = np.where(inputs[step] != 0, inputs[step], answer)
        np.testing.assert_array_equal(targets[step], answer)
    assert set(np.unique(targets)) == {-1, 1}


def test_pulses_have_their_probability_and_known_scores_follow():
    inputs, targets, weights = examples()
    assert (inputs[0] != 0).all()
    share = (inputs[1:] != 0).mean()
    assert abs(share - 0.2) < 4 * np.sqrt(0.16 / inputs[1:].size)
    assert abs(targets.mean()) < 0.02
    batch = tasks.Examples(inputs, targets, weights)
    np.testing.assert_allclose(TASK.score(0 * inputs, batch), TASK.clock_only_score)
    np.testing.assert_allclose(TASK.score(inputs, batch), TASK.input_only_score, rtol=0.01)
    assert float(TASK.score(targets, batch)) == TASK.best_score


def test_sizes_of_the_flip_flop_are_those_of_its_bits():
    assert (TASK.input_size, TASK.output_size, TASK.lag) == (3, 3, 10)


@pytest.mark.parametrize("arguments", [(1,), (5, 0), (5, 3, 1.5), (5, 3, -0.1)])
def test_flip_flop_refuses_wrong_sizes(arguments):
    assert_refused("BitFlipFlop", tasks.BitFlipFlop, *arguments)
