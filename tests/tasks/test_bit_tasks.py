"""Tasks over vectors of bits: answers against references by hand, and known scores."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmem import tasks
from tests.helpers.refusals import assert_refused

# XLA takes seconds to optimise random numbers, which take milliseconds to run.
compiled = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
TASKS = {"copy": tasks.BitCopy(5, 3, 2), "recall": tasks.ItemRecall(5, 4, 3, 3)}
every_task = pytest.mark.parametrize("name", TASKS)


@functools.cache
def examples_of(name):
    draw = compiled(TASKS[name].batch, static_argnums=1)
    return jax.tree.map(np.asarray, draw(jax.random.key(0), 1009))


def copy(xs):
    """(step of an answer, answer, step of what it depends on) of one sequence."""
    (n,) = np.flatnonzero(xs[:, -1])
    assert not xs[n + 1 :].any()
    assert not xs[n, :-1].any()
    yield from ((n + 1 + k, xs[k, :-1], k) for k in range(n))


def recall(xs):
    bounds, (begin, end) = np.flatnonzero(xs[:, -2]), np.flatnonzero(xs[:, -1])
    assert not xs[end + 1 :].any()
    assert not xs[[*bounds, begin, end], :-2].any()
    np.testing.assert_array_equal(bounds, np.arange(0, begin, 4))
    assert end == begin + 4
    items = [xs[bound + 1 : bound + 4, :-2] for bound in bounds]
    query = xs[begin + 1 : end, :-2]
    index = next(i for i, item in enumerate(items) if (item == query).all())
    yield from ((end + 1 + k, items[index + 1][k], 1) for k in range(3))


BY_HAND = {"copy": copy, "recall": recall}


@every_task
def test_answers_are_those_by_hand(name):
    task, (inputs, targets, weights) = TASKS[name], examples_of(name)
    oracle = np.asarray(compiled(task.oracle)(inputs))
    counts, lags = set(), []
    for b in range(211):
        answers = list(BY_HAND[name](inputs[:, b]))
        steps, expected, earliest = map(np.array, zip(*answers, strict=True))
        np.testing.assert_array_equal(targets[steps, b], expected)
        np.testing.assert_array_equal(oracle[steps, b], expected)
        np.testing.assert_array_equal(np.flatnonzero(weights[:, b]), steps)
        counts.add(int(inputs[:, b, -1].argmax()))  # of vectors, or the steps of the list
        lags.append(max(steps - earliest))
    assert max(lags) == task.lag
    assert counts == {"copy": {2, 3, 4, 5}, "recall": {12, 16, 20}}[name]


@every_task
def test_bits_are_even_odds_and_examples_have_the_shapes_that_a_cell_reads(name):
    task, (inputs, targets, weights) = TASKS[name], examples_of(name)
    assert inputs.shape[-1] == task.input_size
    assert targets.shape[-1] == task.output_size
    assert inputs.shape[:2] == targets.shape[:2] == weights.shape
    assert {leaf.dtype for leaf in (inputs, targets, weights)} == {np.dtype(np.float32)}
    answers = targets[weights > 0]
    assert abs(answers.mean() - 0.5) < 4 * 0.5 / np.sqrt(answers.size)
    if name == "recall":  # every item but the first is an answer as often
        firsts = {tuple(row) for row in targets[-3:, :, 0].T.tolist()}
        assert len(firsts) == 8


@every_task
def test_known_scores_are_those_of_the_right_answers_and_of_even_odds(name):
    task, examples = TASKS[name], examples_of(name)
    answers = compiled(task.oracle)(examples.inputs)
    assert task.score(1e3 * (2 * answers - 1), examples) == task.best_score == 0
    blind = task.score(jnp.zeros_like(examples.targets), examples)
    np.testing.assert_allclose(blind, task.clock_only_score, rtol=1e-5)
    assert task.input_only_score == task.clock_only_score
    other = jnp.where(examples.weights[..., None] > 0, 0.0, 7.0) * jnp.ones(task.output_size)
    np.testing.assert_allclose(task.score(other, examples), blind, rtol=1e-5)


@every_task
def test_same_key_gives_the_same_examples(name):
    again = compiled(TASKS[name].batch, static_argnums=1)(jax.random.key(0), 1009)
    for leaf, expected in zip(again, examples_of(name), strict=True):
        np.testing.assert_array_equal(leaf, expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda: tasks.BitCopy(0),
        lambda: tasks.BitCopy(5, 0),
        lambda: tasks.BitCopy(5, 8, 6),
        lambda: tasks.ItemRecall(1),
        lambda: tasks.ItemRecall(6, 0),
        lambda: tasks.ItemRecall(6, 6, 0),
        lambda: tasks.ItemRecall(6, 6, 3, 1),
        lambda: tasks.ItemRecall(6, 6, 3, 7),
    ],
)
def test_bit_task_refuses_wrong_sizes_in_three_parts(make):
    assert_refused("", make)
