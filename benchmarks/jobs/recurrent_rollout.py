"""Rollouts of a policy with a memory, and the advantages of their actions."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

import seqmem

from .recurrent_agent import Policy
from .repeat_previous import Cards, RepeatPrevious


class Actors(NamedTuple):
    """Environments and the memory of the policy in each, which continue from rollout to rollout.

    Attributes:
        environments: their states.
        observation: what the policy sees next.
        done: whether that is the first observation of an episode.
        memory: the state before it, not yet reset.
        episode_return: the rewards of the episode so far.
    """

    environments: Cards
    observation: Float[Array, "env input"]
    done: Bool[Array, " env"]
    memory: Any
    episode_return: Float[Array, " env"]


class Steps(NamedTuple):
    """What was seen and done in each step of a rollout, [time, env, ...]; `done` is of the action.

    `final_return` is the return of an episode at its last step, and 0 elsewhere.
    """

    observation: Float[Array, "*axes input"]
    action: Int[Array, "*axes"]
    log_prob: Float[Array, "*axes"]
    value: Float[Array, "*axes"]
    reward: Float[Array, "*axes"]
    done: Bool[Array, "*axes"]
    final_return: Float[Array, "*axes"]


class Rollout(NamedTuple):
    """Steps, and what training needs to compute the same states again.

    Attributes:
        steps: [time, env, ...].
        memory: the state before the first step, which acting has reached.
        previous: whether the step before the first ended an episode.
        last_value: of the observation after the last step.
    """

    steps: Steps
    memory: Any
    previous: Bool[Array, " env"]
    last_value: Float[Array, " env"]

    @property
    def resets(self) -> Bool[Array, "time env"]:
        return seqmem.resets_from_dones(self.steps.done, self.previous)


def begin(policy: Policy, environment: RepeatPrevious, count: int, *, key: PRNGKeyArray) -> Actors:
    """The first actors, whose first episodes have lost a random number of steps: later ones then
    end at different times.
    """
    keys = jax.random.split(key, count + 1)
    states, observation = jax.vmap(environment.reset)(keys[1:])
    states = states._replace(step=jax.random.randint(keys[0], (count,), 0, environment.length))
    is_first = jnp.ones(count, bool)
    return Actors(states, observation, is_first, policy.memory.init_state(count), jnp.zeros(count))


def roll_out(
    policy: Policy, environment: RepeatPrevious, actors: Actors, time: int, *, key: PRNGKeyArray
) -> tuple[Actors, Rollout]:
    """Act for some steps."""

    def step(actors: Actors, key: PRNGKeyArray) -> tuple[Actors, Steps]:
        action_key, environment_key = jax.random.split(key)
        memory, decision = policy.act(actors.memory, actors.observation, actors.done)
        action = jax.random.categorical(action_key, decision.logits)
        keys = jax.random.split(environment_key, len(action))
        states, (observation, reward, done) = jax.vmap(environment.step)(
            actors.environments, action, key=keys
        )
        total = actors.episode_return + reward
        seen = Steps(
            actors.observation,
            action,
            log_prob_of(decision.logits, action),
            decision.value,
            reward,
            done,
            jnp.where(done, total, 0.0),
        )
        total = jnp.where(done, 0.0, total)
        return Actors(states, observation, done, memory, total), seen

    after, steps = jax.lax.scan(step, actors, jax.random.split(key, time))
    _, last = policy.act(after.memory, after.observation, after.done)
    return after, Rollout(steps, actors.memory, actors.done, last.value)


def log_prob_of(
    logits: Float[Array, "*axes action"], action: Int[Array, "*axes"]
) -> Float[Array, "*axes"]:
    log_probs = jax.nn.log_softmax(logits)
    return jnp.take_along_axis(log_probs, action[..., None], -1)[..., 0]


def advantages_of(
    rollout: Rollout, discount: float, trace_decay: float
) -> Float[Array, "time env"]:
    """Generalised advantage estimates (Schulman et al. 2016, arXiv:1506.02438, equation 16).

        δ_t = r_t + γ (1 − done_t) V_{t+1} − V_t,    A_t = δ_t + γ λ (1 − done_t) A_{t+1}

    No value and no advantage passes the end of an episode.
    """
    steps = rollout.steps
    next_values = jnp.concatenate([steps.value[1:], rollout.last_value[None]])
    continues = jnp.where(steps.done, 0.0, 1.0)
    deltas = steps.reward + discount * continues * next_values - steps.value

    def step(advantage: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        delta, continues = inputs
        advantage = delta + discount * trace_decay * continues * advantage
        return advantage, advantage

    start = jnp.zeros_like(rollout.last_value)
    return jax.lax.scan(step, start, (deltas, continues), reverse=True)[1]
