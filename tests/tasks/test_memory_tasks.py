"""Memory tasks: answers against references, known scores against frequencies."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmem import tasks
from tests.helpers.slow import slow_but

TASKS = {
    "copy": tasks.CopyMemory(3),
    "selective copy": tasks.SelectiveCopy(11, 3, 5),
    "adding": tasks.Adding(7),
    "parity": tasks.parity(11, 3),
    "S3": tasks.WordProblem(tasks.symmetric(3), 7),
    "A5": tasks.WordProblem(tasks.alternating(5), 5, 3),
    "S3 swaps": tasks.WordProblem(tasks.symmetric(3), 7, 3, generators=(1, 2)),
    "Z7": tasks.WordProblem(tasks.cyclic(7), 5),
    "order": tasks.TemporalOrder(23),
    "recall": tasks.AssociativeRecall(14, 3, 10),
    "induction": tasks.Induction(11, 7),
    "flip-flop": tasks.FlipFlop(14, 0.6),
}

# XLA takes seconds to optimise random numbers, which take milliseconds to run.
compiled = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
TOKENS = [name for name in TASKS if name != "adding"]


@functools.cache
def many_examples(name, size=4001):
    task = TASKS[name]
    return jax.tree.map(np.asarray, compiled(task.batch, static_argnums=1)(jax.random.key(0), size))


@functools.cache
def few_examples(name):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[:, :13]), many_examples(name))


# References for one sequence: (step, answer, earliest step that the answer depends on).


def copy(task, xs):
    last = len(xs) - 10
    yield from ((step, 0, step) for step in range(last))
    yield from ((last + k, xs[k], k) for k in range(10))


def selective_copy(task, xs):
    places = [step for step, x in enumerate(xs) if 0 < x <= task.symbols]
    yield from ((task.context + k, xs[step] - 1, step) for k, step in enumerate(places))


def adding(task, xs):
    marked = [step for step, (_, mark) in enumerate(xs) if mark == 1]
    assert [step < task.time // 2 for step in marked] == [True, False]
    yield task.time - 1, sum(xs[step][0] for step in marked), marked[0]


def parity(task, xs):
    yield from ((n - 1, sum(xs[:n]) % 2, 0) for n in range(task.min_length, len(xs) + 1))


def cyclic(task, xs):
    yield from ((n - 1, sum(xs[:n]) % 7, 0) for n in range(task.min_length, len(xs) + 1))


def permutations(elements, task, xs):
    product = np.arange(len(elements[0]))
    for step, x in enumerate(xs):
        product = product[list(elements[x])]  # (product · x)(i) = product(x(i))
        if step + 1 >= task.min_length:
            yield step, elements.index(tuple(product)), 0


def order(task, xs):
    first, second = (step for step, x in enumerate(xs) if x < 2)
    assert task.time // 10 <= first < 2 * (task.time // 10)
    assert task.time // 2 <= second < task.time // 2 + task.time // 10
    yield task.time - 1, xs[first] + 2 * xs[second], first


def recall(task, xs):
    begin = 2 * task.pairs
    values = dict(zip(xs[:begin:2], xs[1:begin:2], strict=True))
    assert len(values) == len(set(values.values())) == task.pairs
    queries = {step: x for step, x in enumerate(xs) if step >= begin and x}
    assert sorted(queries.values()) == sorted(values)
    for step, key in queries.items():
        yield step, values[key] - task.vocabulary // 2, xs.index(key)


def induction(task, xs):
    first, last = (step for step, x in enumerate(xs) if x == 0)
    yield last, xs[first + 1] - 1, first


def flip_flop(task, xs):
    assert xs[0] == 0
    assert xs[-2] == 1
    for step in range(0, len(xs), 2):
        if xs[step] == 0:
            memory, written = xs[step + 1] - 3, step
        if xs[step] == 1:
            yield step, memory, written
            assert xs[step + 1] == 3 + memory


S3 = list(itertools.permutations(range(3)))
A5 = [g for g in itertools.permutations(range(5)) if np.linalg.det(np.eye(5)[list(g)]) > 0]
REFERENCES = {
    "copy": copy,
    "selective copy": selective_copy,
    "adding": adding,
    "parity": parity,
    "S3": functools.partial(permutations, S3),
    "A5": functools.partial(permutations, A5),
    "S3 swaps": functools.partial(permutations, S3),
    "Z7": cyclic,
    "order": order,
    "recall": recall,
    "induction": induction,
    "flip-flop": flip_flop,
}


@pytest.mark.parametrize("name", TASKS)
def test_task_answers_match_the_reference(name):
    task, (inputs, targets, weights) = TASKS[name], many_examples(name)
    oracle = np.asarray(compiled(task.oracle)(inputs))
    assert targets.shape == weights.shape == oracle.shape == inputs.shape[:2]
    lags = []
    for b in range(307):
        answers = list(REFERENCES[name](task, inputs[:, b].tolist()))
        steps, expected, earliest = map(np.array, zip(*answers, strict=True))
        np.testing.assert_allclose(targets[steps, b], expected, rtol=1e-6)
        np.testing.assert_allclose(oracle[steps, b], expected, rtol=1e-6)
        lags.append(max(steps - earliest))
        np.testing.assert_array_equal(np.flatnonzero(weights[:, b]), np.sort(steps))
        assert set(weights[steps, b]) == {1}
    assert max(lags) == task.lag


@pytest.mark.parametrize("name", slow_but(TASKS.keys() - {"recall"}, TASKS))
def test_same_key_gives_the_same_examples_under_jit_and_vmap(name):
    mapped = compiled(jax.vmap(lambda key: TASKS[name].batch(key, 4001)))(
        jnp.stack([jax.random.key(0), jax.random.key(1)])
    )
    for a, b in zip(many_examples(name), mapped, strict=True):
        np.testing.assert_array_equal(a, b[0])
    assert not np.array_equal(*mapped.inputs)


@pytest.mark.parametrize("name", TASKS)
def test_examples_have_the_shapes_and_dtypes_that_a_cell_reads(name):
    task = TASKS[name]
    inputs, targets, weights = few_examples(name)
    vectors = task.vectors(inputs)
    assert vectors.shape == (*targets.shape, task.input_size)
    assert vectors.dtype == weights.dtype == jnp.float32
    assert targets.dtype == (jnp.float32 if name == "adding" else jnp.int32)
    if name != "adding":
        assert inputs.dtype == jnp.int32
        examples = many_examples(name)
        assert 0 <= examples.inputs.min() < examples.inputs.max() < task.input_size
        answers = examples.targets[examples.weights > 0]
        assert set(answers.tolist()) == set(range(task.output_size))


def surprisals(conditions, targets):
    """−ln P(target | condition) by frequency, and the number of distinct (condition, target)."""
    pairs, index, counts = np.unique(
        np.stack([conditions, targets]), axis=1, return_inverse=True, return_counts=True
    )
    _, condition, total = np.unique(conditions, return_inverse=True, return_counts=True)
    return -np.log(counts[index.ravel()] / total[condition.ravel()]), pairs.shape[1]


def assert_entropy(conditions, targets, expected):
    """Within six standard deviations of χ²_k/2n, the bias of the entropy of n draws of k pairs, of
    which each answer has the same probability.
    """
    values, k = surprisals(conditions, targets)
    n = len(targets)
    assert abs(values.mean() - expected) < (k + 6 * math.sqrt(2 * k)) / (2 * n)
    assert (k + 6 * math.sqrt(2 * k)) / (2 * n) < 0.02 * expected


@pytest.mark.parametrize("name", [name for name in TOKENS if name not in ("A5", "S3 swaps")])
def test_known_scores_are_the_conditional_entropies_of_the_answers(name):
    task, (inputs, targets, weights) = TASKS[name], many_examples(name)
    step, example = np.nonzero(weights)
    answers = targets[step, example]
    assert_entropy(inputs[step, example], answers, task.input_only_score)
    assert_entropy(step, answers, task.clock_only_score)


@pytest.mark.parametrize(
    "task",
    [
        tasks.parity(5),
        tasks.parity(7, 3),
        tasks.WordProblem(tasks.cyclic(5), 3),
        tasks.WordProblem(tasks.symmetric(3), 3),
        tasks.WordProblem(tasks.alternating(5), 2),
        tasks.WordProblem(tasks.symmetric(3), 5, 3, generators=(1, 4)),
        tasks.WordProblem(tasks.alternating(5), 7, generators=(4, 17, 30)),
    ],
)
def test_known_scores_of_word_problems_are_exact_over_all_words(task):
    elements = task.generators or range(task.output_size)
    words = np.array(list(itertools.product(elements, repeat=task.max_length))).T
    targets = np.asarray(compiled(task.oracle)(words))
    for scores, conditions in [
        (task.input_only_score, words),
        (task.clock_only_score, np.broadcast_to(np.arange(task.max_length)[:, None], words.shape)),
    ]:
        valid = slice(task.min_length - 1, None)
        values, _ = surprisals(conditions[valid].ravel(), targets[valid].ravel())
        np.testing.assert_allclose(values.mean(), scores, rtol=1e-12)


@pytest.mark.parametrize("delay", [1, 100, 500, 1000])
def test_known_scores_of_copy_are_exact_for_uniform_symbols(delay):
    task = tasks.CopyMemory(delay)
    inputs = np.zeros((delay + 20, 8), int)
    inputs[-11:] = 9
    inputs[:10] = 1 + np.add.outer(np.arange(10), np.arange(8)) % 8
    targets = np.asarray(compiled(task.oracle)(inputs))
    steps = np.broadcast_to(np.arange(len(inputs))[:, None], inputs.shape)
    for conditions, expected in [(inputs, task.input_only_score), (steps, task.clock_only_score)]:
        values, _ = surprisals(conditions.ravel(), targets.ravel())
        np.testing.assert_allclose(values.mean(), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("delay", "clock_only", "input_only"),
    [(100, 0.173287, 0.20121), (500, 0.039989, 0.04643), (1000, 0.020387, 0.02367)],
)
def test_known_scores_of_copy_match_published_baselines(delay, clock_only, input_only):
    task = tasks.CopyMemory(delay)
    assert round(task.clock_only_score, 6) == clock_only
    assert round(task.input_only_score, 5) == input_only


def test_known_scores_of_adding_are_the_errors_of_linear_regression():
    size = 200_003
    task, (inputs, targets, _) = TASKS["adding"], many_examples("adding", size)
    value, mark = inputs[-1].T.astype(float)
    last = targets[-1].astype(float)
    features = np.stack([np.ones(size), value, mark, value * mark], -1)  # E[sum | last] is linear
    fit, *_ = np.linalg.lstsq(features, last)
    for errors, expected in [
        ((last - features @ fit) ** 2, task.input_only_score),
        ((last - last.mean()) ** 2, task.clock_only_score),
    ]:
        assert abs(errors.mean() - expected) < 4 * errors.std() / math.sqrt(size)
    assert task.clock_only_score == 1 / 6
    assert abs(task.input_only_score - task.clock_only_score) > 0.01


@pytest.mark.parametrize("name", slow_but({"adding", "copy"}, TASKS))
def test_right_answers_have_the_best_score(name):
    task, examples = TASKS[name], many_examples(name)
    answers = compiled(task.oracle)(examples.inputs)
    if name == "adding":
        outputs = answers[..., None]
    else:
        outputs = 1e3 * jax.nn.one_hot(answers, task.output_size)
    assert task.score(outputs, examples) == task.best_score == 0


@pytest.mark.slow
def test_score_is_the_mean_over_the_answers_that_count():
    task, examples = TASKS["flip-flop"], few_examples("flip-flop")
    outputs = jax.random.normal(jax.random.key(1), (14, 13, 2))
    logs = np.asarray(jax.nn.log_softmax(outputs))
    losses = [
        -logs[step, b, examples.targets[step, b]]
        for step in range(14)
        for b in range(13)
        if examples.inputs[step, b] == 1
    ]
    np.testing.assert_allclose(task.score(outputs, examples), np.mean(losses), rtol=1e-5)
    other_outputs = jnp.where(examples.weights[..., None] > 0, outputs, 7.0)
    np.testing.assert_allclose(task.score(other_outputs, examples), np.mean(losses), rtol=1e-5)
