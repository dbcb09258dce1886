"""Two cells without fault, for tests that add one."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

import seqmem

INPUT, HIDDEN = 2, 3


class Plain(seqmem.AbstractCell):
    """A cell without fault and with a learned initial state."""

    W: Array
    U: Array
    start: Array
    input_size: int = eqx.field(static=True)

    def __init__(self, hidden_size=HIDDEN):
        keys = jax.random.split(jax.random.key(0), 3)
        self.W = jax.random.normal(keys[0], (hidden_size, INPUT))
        self.U = 0.5 * jax.random.normal(keys[1], (hidden_size, hidden_size))
        self.start = jax.random.normal(keys[2], (hidden_size,))
        self.input_size = INPUT

    def init_state(self):
        return self.start.astype(seqmem.state_dtype(self.start))

    def project(self, x):
        return self.W @ x

    def update(self, h, u):
        return jnp.tanh(self.U @ h + u)

    def readout(self, h, u):
        return h * h


class Gated(seqmem.AbstractGatedCell):
    """A gated cell without fault."""

    W: Array
    U: Array
    input_size: int = eqx.field(static=True)

    def __init__(self):
        keys = jax.random.split(jax.random.key(0))
        self.W = jax.random.normal(keys[0], (HIDDEN, INPUT))
        self.U = 0.5 * jax.random.normal(keys[1], (HIDDEN, HIDDEN))
        self.input_size = INPUT

    def init_state(self):
        return jnp.zeros(HIDDEN, seqmem.state_dtype(self.U))

    def project(self, x):
        return self.W @ x

    def mix(self, h, u):
        return self.U @ h + u

    def gate(self, h, z):
        return jnp.tanh(z)

    def readout(self, h, u):
        return h
