"""Tasks draw what their settings say, and refuse settings that make no task."""

import functools
import math

import jax
import numpy as np
import pytest

from seqmem import tasks

# Random numbers take LLVM seconds to optimise and milliseconds to run.
compiled = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@pytest.mark.parametrize("group", [tasks.cyclic(7), tasks.symmetric(4), tasks.alternating(5)])
def test_a_table_is_that_of_a_group(group):
    table, everything = group.products(), np.arange(group.order)
    np.testing.assert_array_equal(table[0], everything)
    np.testing.assert_array_equal(table[:, 0], everything)
    np.testing.assert_array_equal(table[table], table[everything[:, None, None], table])
    for line in (*table, *table.T):
        np.testing.assert_array_equal(np.sort(line), everything)


def test_groups_have_their_orders_and_names():
    groups = [tasks.cyclic(60), tasks.symmetric(3), tasks.alternating(4), tasks.alternating(5)]
    assert [(g.name, g.order) for g in groups] == [("Z60", 60), ("S3", 6), ("A4", 12), ("A5", 60)]
    commutes = [np.array_equal(g.products(), g.products().T) for g in groups]
    assert commutes == [True, False, False, False]


def test_queries_come_soon_more_often_than_late():
    task = tasks.AssociativeRecall(48, 2, 10)
    weights = compiled(task.batch, static_argnums=1)(jax.random.key(0), 20_011).weights
    slots = np.asarray(weights[4::2])
    chances = 1 / np.arange(1, 23) ** 0.99
    first = chances / chances.sum()  # then one of the others, in proportion
    expected = first + [
        sum(first[i] * p / (1 - first[i]) for i in range(22) if i != j) for j, p in enumerate(first)
    ]
    error = np.sqrt(expected * (1 - expected) / slots.shape[1])
    assert (abs(slots.mean(1) - expected) < 4 * error).all()


def test_instructions_come_as_often_as_asked():
    task = tasks.FlipFlop(64, 0.8)
    kinds = np.asarray(
        compiled(task.batch, static_argnums=1)(jax.random.key(0), 3001).inputs[2:-2:2]
    )
    for kind, expected in enumerate([0.1, 0.1, 0.8]):
        error = math.sqrt(expected * (1 - expected) / kinds.size)
        assert abs((kinds == kind).mean() - expected) < 4 * error


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
        lambda: tasks.GroupWords(tasks.cyclic(3), 1),
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
def test_sizes_that_make_no_task_are_refused_in_three_parts(make):
    with pytest.raises(ValueError, match=r".+\n  Expected: .+\n  What to do: .+"):
        make()
