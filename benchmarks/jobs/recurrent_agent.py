"""A policy with a memory: it acts step by step, and is trained on the same steps as sequences."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

import seqmem


class FeedForward(eqx.Module):
    """V relu(W x + b), with as many weights as a GRU of the same size: 6 size²."""

    W: Float[Array, "hidden size"]
    b: Float[Array, " hidden"]
    V: Float[Array, "size hidden"]

    def __init__(self, size: int, *, key: PRNGKeyArray):
        keys, hidden = jax.random.split(key), 3 * size
        self.W = jax.random.normal(keys[0], (hidden, size)) * math.sqrt(2 / size)
        self.b = jnp.zeros(hidden)
        self.V = jax.random.normal(keys[1], (size, hidden)) / math.sqrt(hidden)

    def __call__(self, x: Float[Array, " size"]) -> Float[Array, " size"]:
        return self.V @ jax.nn.relu(self.W @ x + self.b)


MEMORIES: dict[str, Callable[[int, PRNGKeyArray], seqmem.AbstractCell]] = {
    "GRU": lambda size, key: seqmem.GRU(size, size, key=key),
    "LSTM": lambda size, key: seqmem.LSTM(size, size, key=key),
    "LRU": lambda size, key: seqmem.LRU(size, size, key=key),
    "MinGRU": lambda size, key: seqmem.MinGRU(size, size, key=key),
    "GatedDeltaRule": lambda size, key: seqmem.GatedDeltaRule(size, size, num_heads=4, key=key),
    "none": lambda size, key: seqmem.layers.Map(FeedForward(size, key=key), input_shape=(size,)),
}


class Decision(NamedTuple):
    """What the policy makes of what it has seen.

    Attributes:
        logits: of the actions.
        value: the expected discounted return.
    """

    logits: Float[Array, "*axes action"]
    value: Float[Array, "*axes"]


class Policy(eqx.Module):
    """Actions and values from observations, through a memory.

        u_t = tanh(W x_t + b),    s_t, m_t = memory(s_{t−1}, u_t),    h_t = tanh(V m_t + c)
        logits_t = A h_t,    value_t = v · h_t

    A and v start small: the first policy is nearly uniform.
    """

    W: Float[Array, "size input"]
    b: Float[Array, " size"]
    memory: seqmem.AbstractCell
    V: Float[Array, "size size"]
    c: Float[Array, " size"]
    A: Float[Array, "action size"]
    v: Float[Array, " size"]

    def __init__(self, name: str, input_size: int, actions: int, size: int, *, key: PRNGKeyArray):
        keys = jax.random.split(key, 5)
        self.W = jax.random.normal(keys[0], (size, input_size)) / math.sqrt(input_size)
        self.b = jnp.zeros(size)
        self.memory = MEMORIES[name](size, keys[1])
        self.V = jax.random.normal(keys[2], (size, size)) / math.sqrt(size)
        self.c = jnp.zeros(size)
        self.A = jax.random.normal(keys[3], (actions, size)) * 0.01
        self.v = jax.random.normal(keys[4], (size,)) / math.sqrt(size)

    def act(
        self, state: Any, x: Float[Array, "env input"], reset: Bool[Array, " env"]
    ) -> tuple[Any, Decision]:
        """One step of a batch of environments; `reset` says that x is the first of an episode."""

        def step(state: Any, u: Array, reset: Array) -> tuple[Any, Array]:
            start = self.memory.init_state()
            return self.memory(jax.tree.map(lambda a, b: jnp.where(reset, a, b), start, state), u)

        state, ys = jax.vmap(step)(state, self._encode(x), reset)
        return state, self._decide(ys)

    def unroll(
        self, state: Any, xs: Float[Array, "time env input"], resets: Bool[Array, "time env"]
    ) -> tuple[Any, Decision]:
        """The same for all steps of a rollout, from the state before its first step."""
        state, ys = seqmem.unroll(self.memory, state, self._encode(xs), resets=resets)
        return state, self._decide(ys)

    def _encode(self, xs: Float[Array, "*axes input"]) -> Float[Array, "*axes size"]:
        return jnp.tanh(xs @ self.W.T + self.b)

    def _decide(self, ys: Float[Array, "*axes size"]) -> Decision:
        h = jnp.tanh(ys @ self.V.T + self.c)
        return Decision(h @ self.A.T, h @ self.v)


def num_parameters(policy: Policy) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(policy, eqx.is_inexact_array)))
