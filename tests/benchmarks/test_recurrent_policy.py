"""Policies with a memory: the environment, acting and training on the same states, and the job."""

import functools
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqmem

pytest.importorskip("matplotlib", reason="the figures need matplotlib")
pytest.importorskip("tqdm", reason="the progress bars need tqdm")

from benchmarks.jobs import recurrent_policy
from benchmarks.jobs.recurrent_agent import MEMORIES, Policy, num_parameters
from benchmarks.jobs.recurrent_rollout import (
    Rollout,
    Steps,
    advantages_of,
    begin,
    log_prob_of,
    roll_out,
)
from benchmarks.jobs.repeat_previous import RepeatPrevious

ENVIRONMENT = RepeatPrevious(delay=2, suits=3, length=5)
TIME, COUNT = 11, 7
KEYS = jax.random.split(jax.random.key(0), 3)


@pytest.mark.slow
def test_environment_is_that_of_a_loop():
    delay, length = ENVIRONMENT.delay, ENVIRONMENT.length
    state, observation = ENVIRONMENT.reset(KEYS[0])
    step, cards, rng = jax.jit(ENVIRONMENT.step), [], np.random.default_rng(0)
    for t in range(3 * length):
        cards.append(int(observation.argmax()))
        assert observation.sum() == 1
        is_answered, is_right = t % length >= delay, bool(rng.random() < 0.5)
        right = cards[t - delay] if is_answered else 0
        action = jnp.int32(right if is_right else (right + 1) % 3)
        state, (observation, reward, done) = step(state, action, key=jax.random.key(t))
        want = (1 if is_right else -1) / (length - delay) if is_answered else 0
        assert reward == pytest.approx(want)
        assert bool(done) == (t % length == length - 1)
    assert len(set(cards)) == 3


def two_rollouts(name):
    """A policy, and two rollouts, each with the actors after it."""
    policy = Policy(name, 3, 3, 8, key=KEYS[0])
    actors = begin(policy, ENVIRONMENT, COUNT, key=KEYS[1])
    run = jax.jit(lambda actors, key: roll_out(policy, ENVIRONMENT, actors, TIME, key=key))
    between, first = run(actors, KEYS[1])
    after, second = run(between, KEYS[2])
    return policy, (first, between), (second, after)


@jax.jit
def unroll(policy, rollout, resets):
    return policy.unroll(rollout.memory, rollout.steps.observation, resets)


@pytest.mark.slow
@pytest.mark.parametrize("name", MEMORIES)
def test_training_computes_the_states_of_acting(name):
    policy, *rollouts = two_rollouts(name)
    done = np.asarray(rollouts[0][0].steps.done)
    assert (done.sum(0) >= 2).all()  # episodes end within a rollout,
    assert 0 < done[-1].sum() < COUNT  # and some of them with it
    for rollout, actors in rollouts:
        state, decision = unroll(policy, rollout, rollout.resets)
        got = (state, decision.value, log_prob_of(decision.logits, rollout.steps.action))
        want = (actors.memory, rollout.steps.value, rollout.steps.log_prob)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6), got, want)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MEMORIES if name != "none"])
@pytest.mark.parametrize("shift", [-1, 1])
def test_resets_that_are_wrong_by_one_step_give_other_states(name, shift):
    policy, (rollout, _), _ = two_rollouts(name)
    wrong = jnp.roll(rollout.resets, shift, 0)
    _, decision = unroll(policy, rollout, wrong)
    assert jnp.abs(decision.value - rollout.steps.value).max() > 1e-3


def test_advantages_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    rewards, values = rng.normal(size=(2, TIME, COUNT)).astype(np.float32)
    dones, last = rng.random((TIME, COUNT)) < 0.3, rng.normal(size=COUNT).astype(np.float32)
    zeros = np.zeros((TIME, COUNT), np.float32)
    steps = Steps(zeros[..., None], zeros, zeros, values, rewards, dones, zeros)
    got = advantages_of(Rollout(jax.tree.map(jnp.asarray, steps), (), None, last), 0.9, 0.7)
    want, advantage, next_value = zeros.copy(), 0, last
    for t in reversed(range(TIME)):
        continues = 1 - dones[t]
        delta = rewards[t] + 0.9 * continues * next_value - values[t]
        advantage = delta + 0.9 * 0.7 * continues * advantage
        want[t], next_value = advantage, values[t]
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_feed_forward_layer_has_the_weights_of_the_gru():
    gru, feed_forward = (Policy(name, 3, 3, 8, key=KEYS[0]) for name in ("GRU", "none"))
    assert abs(num_parameters(feed_forward) / num_parameters(gru) - 1) < 0.05
    assert isinstance(gru.memory, seqmem.GRU)


@pytest.mark.slow
@pytest.mark.optimised
def test_job_writes_a_table_and_a_figure(tmp_path, monkeypatch):
    options = "--memories MinGRU none --seeds 2 --updates 3 --environments 4 --time 25 --size 8"
    monkeypatch.setattr(sys, "argv", ["job", *options.split(), "--out", str(tmp_path)])
    with jax.numpy_dtype_promotion("standard"):  # as users run it
        recurrent_policy.main()
    (path,) = tmp_path.glob("*.json")
    record = json.loads(path.read_text())
    assert [row["memory"] for row in record["memories"]] == ["MinGRU", "none"]
    for row in record["memories"]:
        assert all(-1 <= value <= 1 for value in row["returns"])
        assert row["solved_at"] == [None, None]
    assert len((tmp_path / "recurrent_policy_cpu.csv").read_text().splitlines()) == 1 + 2 * 2 * 3
    assert (tmp_path / "recurrent_policy_cpu.png").is_file()


@pytest.mark.slow
@pytest.mark.optimised
def test_a_memory_learns_what_guessing_cannot():
    """A short run of the job's program; guessing has −1/3 with 3 suits."""
    settings = recurrent_policy.Settings(environments=32, time=16, updates=150, size=32)
    environment = RepeatPrevious(delay=1, suits=3, length=9)
    for name, reaches in (("GRU", True), ("none", False)):
        run = functools.partial(recurrent_policy.train, name, environment, settings)
        with jax.numpy_dtype_promotion("standard"):  # as users run it
            returns = jax.jit(run)(KEYS[0])
        last = float(jnp.nanmean(returns[-20:]))
        assert (last > 0.8) if reaches else (last < environment.chance + 0.2), (name, last)
