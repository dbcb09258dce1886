"""Flossing before and during training: which parameters it changes, and when."""

import dataclasses
import functools
import inspect
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import seqmem
from seqmem import training

KEY = jax.random.key(0)
ADAM = optax.adam(0.1)
TIME = 5


class Model(eqx.Module):
    """A cell, a number that only flossing changes, and something that is no array."""

    cell: seqmem.RNN
    level: jax.Array
    name: str = "model"


def pull_to_noise(model, key):
    """A loss whose minimum is the draw of its key."""
    return jnp.square(model.level - jax.random.normal(key, model.level.shape)).sum()


def task_loss(model, state, xs):
    state, ys = seqmem.unroll(model.cell, state, xs)
    return (ys**2).sum(), ys.size, state


GRADIENT = training.TruncatedBPTT(task_loss, window=TIME)
STEP = training.make_step(GRADIENT, ADAM)


def make_model():
    return Model(seqmem.RNN(2, 3, key=KEY), jnp.zeros(4))


def begin():
    model, xs = make_model(), jnp.ones((TIME, 2))
    return training.begin_training(model, ADAM, GRADIENT.init_carry(model.cell.init_state(), xs))


@pytest.mark.slow
def test_floss_steps_are_those_of_a_plain_loop():
    model, losses = training.floss_steps(pull_to_noise, make_model(), ADAM, steps=3, key=KEY)
    level, opt_state = jnp.zeros(4), ADAM.init(jnp.zeros(4))
    for step, key in enumerate(jax.random.split(KEY, 3)):
        draw = jax.random.normal(key, (4,))
        np.testing.assert_allclose(losses[step], jnp.square(level - draw).sum(), rtol=1e-6)
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = ADAM.update(2 * (level - draw), opt_state)
        level = level + updates
    np.testing.assert_allclose(model.level, level, rtol=1e-6)
    assert model.name == "model"


@pytest.mark.slow
def test_step_whose_gradient_is_not_finite_changes_nothing():
    def loss(model, key):
        return pull_to_noise(model, key) * jnp.where(jax.random.bits(key) % 2, 1.0, jnp.nan)

    model, losses = training.floss_steps(loss, make_model(), ADAM, steps=9, key=KEY)
    is_finite = np.isfinite(losses)
    assert is_finite.any()
    assert not is_finite.all()
    assert jnp.isfinite(model.level).all()
    assert (model.level != 0).all()


def test_training_step_flosses_at_the_positions_alone():
    step = training.with_flossing(STEP, pull_to_noise, ADAM, at=(0, 2), steps=3, key=KEY)
    state, plain = begin(), begin()
    levels = [np.array(state.model.level)]  # a copy: a step donates its state
    for position in range(4):
        scale = jnp.inf if position == 1 else 1.0  # a skipped step counts as a position
        xs = jnp.ones((TIME, 2)) * scale
        (state, metrics), (plain, _) = step(state, xs), STEP(plain, xs)
        levels.append(np.array(state.model.level))
        assert int(metrics["skipped"]) == (position == 1)
    changes = [bool((a != b).any()) for a, b in itertools.pairwise(levels)]
    assert changes == [True, False, True, False]
    assert int(state.steps) == 3
    np.testing.assert_array_equal(state.model.cell.U, plain.model.cell.U)


def test_flossing_depends_on_the_training_state_alone():
    make = functools.partial(
        training.with_flossing, STEP, pull_to_noise, ADAM, at=range(0, 9, 2), steps=2, key=KEY
    )
    xs, levels = jnp.ones((TIME, 2)), []
    for resumed in (False, True):
        step, state = make(), begin()
        for position in range(4):
            step = make() if resumed and position == 2 else step
            state, _ = step(state, xs)
        levels.append(state.model.level)
    np.testing.assert_array_equal(*levels)


class Counter:
    """A counter on a device, which waits for the step before it is read."""

    def __init__(self, value):
        self.value, self.reads = value, 0

    def __int__(self):
        self.reads += 1
        return self.value


def test_positions_are_read_off_the_first_state_and_counted_from_there_on():
    def step(state):
        return dataclasses.replace(state, steps=Counter(state.steps.value + 1)), {}

    flossing = training.with_flossing(step, pull_to_noise, ADAM, at=(4,), steps=1, key=KEY)
    first = training.TrainingState(make_model(), None, None, Counter(1), Counter(2))
    states = [first]
    for _ in range(3):
        states.append(flossing(states[-1])[0])
    assert [state.steps.reads for state in states] == [1, 0, 0, 0]
    assert [bool((state.model.level != 0).all()) for state in states] == [False, False, True, True]
    resumed, _ = flossing(first)  # of another place in the run
    assert first.steps.reads == 2
    assert (resumed.model.level == 0).all()


@pytest.mark.parametrize("steps", [0, 1.5])
def test_number_of_steps_below_one_is_refused(steps):
    message = r"(?s)^[^\n]+\n  Expected: .*\n  What to do: "
    with pytest.raises(ValueError, match=message):
        training.floss_steps(pull_to_noise, make_model(), ADAM, steps=steps, key=KEY)
    with pytest.raises(ValueError, match=message):
        training.with_flossing(STEP, pull_to_noise, ADAM, steps=steps, key=KEY)


def test_model_is_flossed_before_the_first_step_where_no_position_is_given():
    assert inspect.signature(training.with_flossing).parameters["at"].default == (0,)
