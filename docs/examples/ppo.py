# %% [markdown]
# # PPO with a memory
#
# Where an observation does not say all, an agent needs a memory, and the memory needs care: its
# state lives on from step to step and from rollout to rollout, and must be forgotten where an
# episode ends. This notebook trains a recurrent policy by PPO (Schulman et al. 2017), whole, with
# its environment, in one compiled program. It compares a GRU with a policy without a memory, and
# checks that training sees the states that acting saw. It runs in less than a minute on a CPU with
# two cores and needs `pip install 'seqmem[plot]'`.

# %%
# %matplotlib inline
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import seqmem

# %% [markdown]
# ## An environment
#
# An episode is 13 random cards of four suits. The agent sees the card of each step and has to name
# the one of three steps ago, for a reward of 1/10 where it is right. So the best return is 1, and
# without a memory it is that of guessing, 1/4. The functions are of one environment: `jax.vmap`
# makes 64. After the last step of an episode `step` deals the first card of the next one, and
# `done` says so.

# %%
DELAY, SUITS, LENGTH = 3, 4, 13
ENVIRONMENTS, TIME, UPDATES = 64, 20, 300


def reset(key):
    return jax.random.randint(key, (DELAY + 1,), 0, SUITS), jnp.zeros((), jnp.int32)


def observe(cards):
    return jax.nn.one_hot(cards[-1], SUITS)


def step(state, action, key):
    cards, t = state
    is_right = (action == cards[0]) & (t >= DELAY)
    cards = jnp.concatenate([cards[1:], jax.random.randint(key, (1,), 0, SUITS)])
    done = t + 1 == LENGTH
    return (cards, jnp.where(done, 0, t + 1)), is_right / (LENGTH - DELAY), done


# %% [markdown]
# ## A policy
#
# One function acts and trains: `unroll` runs the memory over any number of steps, from the state
# before the first. A rollout calls it with one step, the loss with all steps of the rollout.
# `resets[t]` says that x[t] is the first observation of an episode; the state before it is then
# `init_state()`.


# %%
class Policy(eqx.Module):
    memory: seqmem.AbstractLayer
    W: jax.Array  # logits of the actions, and the value

    def __call__(self, state, xs, resets):
        state, ys = seqmem.unroll(self.memory, state, xs, resets=resets)
        out = ys @ self.W
        return state, jax.nn.log_softmax(out[..., :-1]), out[..., -1]


def make_gru(key):
    return seqmem.GRU(SUITS, 32, key=key)


def make_feed_forward(key):
    keys = jax.random.split(key)
    first, second = eqx.nn.Linear(SUITS, 64, key=keys[0]), eqx.nn.Linear(64, 32, key=keys[1])
    functions = (first, jax.nn.relu, second, jax.nn.tanh)
    return seqmem.layers.Stack([seqmem.layers.Map(function) for function in functions])


# %% [markdown]
# ## A rollout
#
# `Actors` is what goes on from rollout to rollout: the environments, the state of the memory, and
# whether the observation to come begins an episode. The rollout keeps the state before its first
# step, because training starts there. `done` is stored as the environment returned it, for the
# action of the step. So the resets are shifted by one step, and the first one is the last `done` of
# the rollout before: `resets_from_dones` does both.


# %%
class Actors(NamedTuple):
    environments: Any
    memory: Any
    done: jax.Array


def act(policy, actors, key):
    keys = jax.random.split(key, ENVIRONMENTS + 1)
    x = jax.vmap(observe)(actors.environments[0])
    memory, log_probs, values = policy(actors.memory, x[None], actors.done[None])
    action = jax.random.categorical(keys[0], log_probs[0])
    environments, reward, done = jax.vmap(step)(actors.environments, action, keys[1:])
    seen = {"x": x, "action": action, "log_probs": log_probs[0], "value": values[0]}
    return Actors(environments, memory, done), seen | {"reward": reward, "done": done}


def roll_out(policy, actors, key):
    after, steps = jax.lax.scan(
        lambda actors, key: act(policy, actors, key), actors, jax.random.split(key, TIME)
    )
    steps["resets"] = seqmem.resets_from_dones(steps["done"], actors.done)
    return after, steps


def start(policy, key):
    cards, _ = jax.vmap(reset)(jax.random.split(key, ENVIRONMENTS))
    t = jnp.arange(ENVIRONMENTS) % LENGTH  # episodes end at different steps
    is_first = jnp.ones(ENVIRONMENTS, bool)
    return Actors((cards, t), policy.memory.init_state(ENVIRONMENTS), is_first)


# %% [markdown]
# ## Is training's state that of acting?
#
# The log-probabilities that were computed step by step, and those of the whole rollout at once,
# agree to rounding. With resets that are late or early by one step they do not, and nothing else
# would say so: the policy would train all the same, on states that it never had.

# %%
keys = jax.random.split(jax.random.key(0), 4)
policy = Policy(make_gru(keys[0]), jax.random.normal(keys[1], (32, SUITS + 1)))
actors, _ = roll_out(policy, start(policy, keys[2]), keys[2])  # the second rollout begins within
_, steps = roll_out(policy, actors, keys[3])  # an episode
for shift, name in ((0, "right"), (1, "late by a step"), (-1, "early by a step")):
    resets = jnp.roll(steps["resets"], shift, 0)
    _, log_probs, _ = policy(actors.memory, steps["x"], resets)
    print(f"resets {name}: {jnp.abs(log_probs - steps['log_probs']).max():.0e}")

# %% [markdown]
# ## The loss
#
# Advantages are summed backwards in time, and nothing passes the end of an episode: neither the
# value of the next observation, which belongs to another one, nor the advantage of the next step.
# The rest is PPO: a clipped ratio of probabilities, the error of the values, and the entropy.

# %%
DISCOUNT, TRACE_DECAY, CLIP = 0.9, 0.9, 0.2


def advantages_of(steps, last_value):
    def backwards(carry, step):
        advantage, next_value = carry
        continues = 1.0 - step["done"]
        delta = step["reward"] + DISCOUNT * continues * next_value - step["value"]
        advantage = delta + DISCOUNT * TRACE_DECAY * continues * advantage
        return (advantage, step["value"]), advantage

    zeros = jnp.zeros_like(last_value)
    return jax.lax.scan(backwards, (zeros, last_value), steps, reverse=True)[1]


def pick(log_probs, action):
    return jnp.take_along_axis(log_probs, action[..., None], -1)[..., 0]


def loss_of(policy, memory, steps, advantages):
    _, log_probs, values = policy(memory, steps["x"], steps["resets"])
    ratio = jnp.exp(pick(log_probs, steps["action"]) - pick(steps["log_probs"], steps["action"]))
    scaled = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    gain = jnp.minimum(ratio * scaled, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * scaled)
    error = (values - steps["value"] - advantages) ** 2
    entropy = -(jnp.exp(log_probs) * log_probs).sum(-1)
    return (0.5 * error - gain - 0.01 * entropy).mean()


# %% [markdown]
# ## Training
#
# An update is a rollout and four steps of Adam on it. All updates are one `lax.scan`, so the whole
# training is one program, which returns the mean return of an episode in each rollout.

# %%
optimiser = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(5e-3))


def update(carry, key):
    policy, opt_state, actors = carry
    after, steps = roll_out(policy, actors, key)
    _, seen = act(policy, after, key)  # for the value of the observation after the rollout
    advantages = advantages_of(steps, seen["value"])

    def improve(carry, _):
        policy, opt_state = carry
        gradient = jax.grad(loss_of)(policy, actors.memory, steps, advantages)
        changes, opt_state = optimiser.update(gradient, opt_state)
        return (optax.apply_updates(policy, changes), opt_state), None

    (policy, opt_state), _ = jax.lax.scan(improve, (policy, opt_state), length=4)
    return (policy, opt_state, after), LENGTH * steps["reward"].mean()


@jax.jit
def train(policy, key):
    carry = (policy, optimiser.init(policy), start(policy, key))
    return jax.lax.scan(update, carry, jax.random.split(key, UPDATES))[1]


returns = {}
for name, make in (("GRU", make_gru), ("feed-forward", make_feed_forward)):
    policy = Policy(make(keys[0]), 0.1 * jax.random.normal(keys[1], (32, SUITS + 1)))
    returns[name] = np.asarray(train(policy, keys[2]))
    print(f"{name}: {returns[name][-30:].mean():.2f}")

# %% [markdown]
# ## The return
#
# The GRU remembers; the policy without a memory guesses, as it must.

# %%
figure = Figure(figsize=(5, 3), layout="constrained")
axes = figure.subplots()
for name, curve in returns.items():
    axes.plot(np.arange(1, UPDATES + 1) * ENVIRONMENTS * TIME / 1000, curve, label=name)
axes.axhline(1 / SUITS, color="0.5", ls=":", label="guessing")
axes.set(xlabel="thousands of steps, of all environments", ylabel="return", ylim=(0, 1.05))
axes.legend(frameon=False)
figure
