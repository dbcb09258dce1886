"""Two correct cells, for tests that add a fault."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import seqmem

INPUT, HIDDEN = 2, 3


def draw(*shapes):
    rng = np.random.default_rng(0)
    return [jnp.asarray(0.7 * rng.normal(size=shape), jnp.float32) for shape in shapes]


class Plain(seqmem.AbstractCell):
    """A correct cell with a learned initial state."""

    input_shape = (INPUT,)

    W: Array
    U: Array
    start: Array

    def __init__(self, hidden_size=HIDDEN):
        self.W, self.U, self.start = draw(
            (hidden_size, INPUT), (hidden_size, hidden_size), (hidden_size,)
        )

    def init_state(self):
        return self.start.astype(seqmem.state_dtype(self.start))

    def project(self, x):
        return self.W @ x

    def update(self, h, u):
        return jnp.tanh(self.U @ h + u)

    def readout(self, h, u):
        return h * h


class Gated(seqmem.AbstractGatedCell):
    """A correct gated cell."""

    input_shape = (INPUT,)

    W: Array
    U: Array

    def __init__(self):
        self.W, self.U = draw((HIDDEN, INPUT), (HIDDEN, HIDDEN))

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
