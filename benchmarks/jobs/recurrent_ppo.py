"""PPO for a policy with a memory, all updates in one program."""

import dataclasses
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from .recurrent_agent import Policy
from .recurrent_rollout import Rollout, advantages_of, begin, log_prob_of, roll_out
from .repeat_previous import RepeatPrevious


@dataclasses.dataclass(frozen=True)
class Settings:
    """Sizes and rates of PPO.

    Attributes:
        environments: that act at once, a multiple of `minibatches`.
        time: steps of a rollout.
        updates: rollouts, each followed by training on it.
        epochs: how often a rollout is read.
        minibatches: of environments, whose sequences stay whole.
        size: units of the policy.
        learning_rate: of Adam.
        discount: γ.
        trace_decay: λ of the advantages.
        clip: largest change of a probability's ratio that is rewarded.
        value_weight: of the squared error of the values in the loss.
        entropy_weight: of the entropy of the actions in the loss.
        max_norm: of a gradient.
    """

    environments: int = 64
    time: int = 32
    updates: int = 500
    epochs: int = 4
    minibatches: int = 2
    size: int = 32
    learning_rate: float = 2e-3
    discount: float = 0.9
    trace_decay: float = 0.9
    clip: float = 0.2
    value_weight: float = 0.5
    entropy_weight: float = 0.01
    max_norm: float = 0.5

    @property
    def steps(self) -> int:
        """Steps of all environments in all rollouts."""
        return self.environments * self.time * self.updates


class Part(NamedTuple):
    """The rollouts of some environments, and the advantages of their actions."""

    rollout: Rollout
    advantages: Float[Array, "time env"]


def loss_of(policy: Policy, part: Part, settings: Settings) -> Float[Array, ""]:
    """The clipped objective, negative, with those of the values and of the entropy.

    Source: Schulman et al. 2017, arXiv:1707.06347, equations 7 and 9.
    """
    steps = part.rollout.steps
    _, decision = policy.unroll(part.rollout.memory, steps.observation, part.rollout.resets)
    targets = part.advantages + steps.value
    scaled = part.advantages - part.advantages.mean()
    scaled = scaled / (scaled.std() + 1e-8)
    ratio = jnp.exp(log_prob_of(decision.logits, steps.action) - steps.log_prob)
    clipped = jnp.clip(ratio, 1 - settings.clip, 1 + settings.clip)
    gain = jnp.minimum(ratio * scaled, clipped * scaled).mean()
    error = ((decision.value - targets) ** 2).mean() / 2
    log_probs = jax.nn.log_softmax(decision.logits)
    entropy = -(jnp.exp(log_probs) * log_probs).sum(-1).mean()
    return settings.value_weight * error - gain - settings.entropy_weight * entropy


def take_environments(part: Part, indices: Array) -> Part:
    """Axis 1 is environments in what has a time, and axis 0 in what has none."""
    rollout = part.rollout
    of_steps = jax.tree.map(lambda leaf: leaf[:, indices], (rollout.steps, part.advantages))
    of_rollout = jax.tree.map(
        lambda leaf: leaf[indices], (rollout.memory, rollout.previous, rollout.last_value)
    )
    return Part(Rollout(of_steps[0], *of_rollout), of_steps[1])


def train(
    name: str, environment: RepeatPrevious, settings: Settings, key: PRNGKeyArray
) -> Float[Array, " update"]:
    """The mean return of the episodes that ended in each rollout; NaN where none did.

    Args:
        name: of the memory.
        environment: for each of the environments that act at once.
        settings: sizes and rates.
        key: random key; `jax.vmap` over keys trains several policies in one program.
    """
    policy_key, begin_key, key = jax.random.split(key, 3)
    policy = Policy(name, environment.suits, environment.suits, settings.size, key=policy_key)
    parameters, static = eqx.partition(policy, eqx.is_inexact_array)
    optimiser = optax.chain(
        optax.clip_by_global_norm(settings.max_norm), optax.adam(settings.learning_rate)
    )

    def improve(carry: tuple, part: Part) -> tuple[tuple, None]:
        parameters, moments = carry

        def loss(parameters: Policy) -> Array:
            return loss_of(eqx.combine(parameters, static), part, settings)

        updates, moments = optimiser.update(jax.grad(loss)(parameters), moments, parameters)
        return (optax.apply_updates(parameters, updates), moments), None

    def update(carry: tuple, key: PRNGKeyArray) -> tuple[tuple, Array]:
        parameters, moments, actors = carry
        key, order_key = jax.random.split(key)
        policy = eqx.combine(parameters, static)
        actors, rollout = roll_out(policy, environment, actors, settings.time, key=key)
        part = Part(rollout, advantages_of(rollout, settings.discount, settings.trace_decay))

        def epoch(carry: tuple, key: PRNGKeyArray) -> tuple[tuple, None]:
            order = jax.random.permutation(key, settings.environments)
            order = order.reshape(settings.minibatches, -1)
            return jax.lax.scan(
                lambda carry, indices: improve(carry, take_environments(part, indices)),
                carry,
                order,
            )[0], None

        keys = jax.random.split(order_key, settings.epochs)
        (parameters, moments), _ = jax.lax.scan(epoch, (parameters, moments), keys)
        ended = rollout.steps.done.sum(dtype=jnp.float32)
        mean_return = rollout.steps.final_return.sum() / jnp.maximum(ended, 1)
        return (parameters, moments, actors), jnp.where(ended > 0, mean_return, jnp.nan)

    actors = begin(policy, environment, settings.environments, key=begin_key)
    carry = (parameters, optimiser.init(parameters), actors)
    return jax.lax.scan(update, carry, jax.random.split(key, settings.updates))[1]
