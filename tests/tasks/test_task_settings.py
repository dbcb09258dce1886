"""Tasks: groups, the distributions of draws, and refused settings."""

import functools
import math

import jax
import numpy as np
import pytest

from seqmem import tasks
from tests.helpers.refusals import assert_refused

# XLA takes seconds to optimise random numbers, which take milliseconds to run.
compiled = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@pytest.mark.parametrize("group", [tasks.cyclic(7), tasks.symmetric(4), tasks.alternating(5)])
def test_multiplication_table_is_that_of_a_group(group):
    table, elements = group.product_table(), np.arange(group.order)
    np.testing.assert_array_equal(table[0], elements)
    np.testing.assert_array_equal(table[:, 0], elements)
    np.testing.assert_array_equal(table[table], table[elements[:, None, None], table])
    for line in (*table, *table.T):
        np.testing.assert_array_equal(np.sort(line), elements)


def test_groups_have_their_orders_and_names():
    groups = [tasks.cyclic(60), tasks.symmetric(3), tasks.alternating(4), tasks.alternating(5)]
    assert [(g.name, g.order) for g in groups] == [("Z60", 60), ("S3", 6), ("A4", 12), ("A5", 60)]
    is_commutative = [np.array_equal(g.product_table(), g.product_table().T) for g in groups]
    assert is_commutative == [True, False, False, False]


def test_recall_slots_follow_a_power_law():
    task = tasks.AssociativeRecall(48, 2, 10)
    examples = compiled(task.batch, static_argnums=1)(jax.random.key(0), 20_011)
    slots = np.asarray(examples.weights[4::2])
    weights = 1 / np.arange(1, 23) ** 0.99
    first = weights / weights.sum()
    expected = first + [  # and the second, among the other slots
        sum(first[i] * p / (1 - first[i]) for i in range(22) if i != j) for j, p in enumerate(first)
    ]
    error = np.sqrt(expected * (1 - expected) / slots.shape[1])
    assert (abs(slots.mean(1) - expected) < 4 * error).all()


def test_flip_flop_instructions_have_their_probabilities():
    task = tasks.FlipFlop(64, 0.8)
    examples = compiled(task.batch, static_argnums=1)(jax.random.key(0), 3001)
    instructions = np.asarray(examples.inputs[2:-2:2])
    for instruction, expected in enumerate([0.1, 0.1, 0.8]):
        error = math.sqrt(expected * (1 - expected) / instructions.size)
        assert abs((instructions == instruction).mean() - expected) < 4 * error


def test_words_are_made_of_all_generators_alike():
    task = tasks.WordProblem(tasks.alternating(5), 7, generators=(4, 17, 30))
    inputs = np.asarray(compiled(task.batch, static_argnums=1)(jax.random.key(0), 3001).inputs)
    elements, counts = np.unique(inputs, return_counts=True)
    assert elements.tolist() == [4, 17, 30]
    error = math.sqrt(2 / 9 / inputs.size)
    assert (abs(counts / inputs.size - 1 / 3) < 4 * error).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: tasks.CopyMemory(0),
        lambda: tasks.CopyMemory(2.0),
        lambda: tasks.SelectiveCopy(3, 5),
        lambda: tasks.SelectiveCopy(7, 5, 1),
        lambda: tasks.Adding(1),
        lambda: tasks.Adding(True),
        lambda: tasks.parity(5, 7),
        lambda: tasks.parity(5, 1),
        lambda: tasks.WordProblem(tasks.cyclic(3), 1),
        lambda: tasks.WordProblem(tasks.symmetric(3), 5, generators=()),
        lambda: tasks.WordProblem(tasks.symmetric(3), 5, generators=(1, 6)),
        lambda: tasks.WordProblem(tasks.symmetric(3), 5, generators=(2, 1, 2)),
        lambda: tasks.TemporalOrder(9),
        lambda: tasks.AssociativeRecall(10, 3, 10),
        lambda: tasks.AssociativeRecall(13, 3, 10),
        lambda: tasks.AssociativeRecall(14, 3, 6),
        lambda: tasks.AssociativeRecall(14, 3, 11),
        lambda: tasks.Induction(2),
        lambda: tasks.Induction(5, 2),
        lambda: tasks.FlipFlop(13),
        lambda: tasks.FlipFlop(2),
        lambda: tasks.FlipFlop(14, 1.5),
        lambda: tasks.cyclic(1),
        lambda: tasks.symmetric(7),
        lambda: tasks.alternating(2),
    ],
)
def test_task_refuses_wrong_sizes_in_three_parts(make):
    assert_refused("", make)
