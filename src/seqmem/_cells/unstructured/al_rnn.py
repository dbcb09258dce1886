from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.cell import AbstractCell
from ..._core.errors import bad_input
from ..._core.precision import state_dtype
from ..._core.validation import check_count, check_sizes
from ..initialisers import lecun_normal, uniform


class ALRNN(AbstractCell):
    """Almost-linear recurrent network: a piecewise-linear one in which a few units are rectified,
    and the others are linear.

        z_t = A ∘ z_{t−1} + W Φ(z_{t−1}) + C x_t + h
        Φ(z) = [z_1, …, z_{M−P}, relu(z_{M−P+1}), …, relu(z_M)]
        y_t = z_t

    The signs of the P rectified units are a symbol of 2^P, and for each a step is linear.

    Shapes: x (input,), z, y, A and h (hidden,). Cost per step: O(hidden · (input + hidden)), of
    which O(hidden²) is sequential.
    Source: Brenner et al. 2024, arXiv:2410.14240. The paper's text was not read; the equations are
    those of public programs that name it. Differs: the input C x_t. At the start A is uniform in
    [0, ½) and W has about the norm ½, so that states are bounded.

    Args:
        input_size: features of one input, > 0.
        hidden_size: M, features of the state, > 0.
        num_rectified: P, 0 <= P <= M.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1, or more rectified units
            than units.
    """

    recurrent_weights: ClassVar = ("W",)

    A: Float[Array, " hidden"]
    W: Float[Array, "hidden hidden"]
    C: Float[Array, "hidden input"]
    h: Float[Array, " hidden"]
    num_rectified: int = eqx.field(static=True)

    def __init__(
        self, input_size: int, hidden_size: int, *, num_rectified: int = 2, key: PRNGKeyArray
    ):
        check_sizes("ALRNN", input_size=input_size, hidden_size=hidden_size)
        check_count("ALRNN", "num_rectified", num_rectified, at_least=0)
        if num_rectified > hidden_size:
            raise bad_input(
                f"ALRNN got num_rectified={num_rectified} for hidden_size={hidden_size}.",
                "at most as many rectified units as units.",
                "choose a smaller num_rectified; all units are rectified in seqmem.PLRNN.",
            )
        memory_key, recurrent_key, input_key = jax.random.split(key, 3)
        self.A = uniform(memory_key, (hidden_size,), 0.0, 0.5)
        self.W = lecun_normal(recurrent_key, (hidden_size, hidden_size)) / 4
        self.C = lecun_normal(input_key, (hidden_size, input_size))
        self.h = jnp.zeros(hidden_size)
        self.num_rectified = num_rectified

    @property
    def input_shape(self):
        return self.C.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.h.shape[-1], state_dtype(self.h))

    def project(self, x):
        return x @ self.C.mT + self.h

    def update(self, z, drive):
        is_linear = jnp.arange(z.shape[-1]) < z.shape[-1] - self.num_rectified
        return self.A * z + jnp.where(is_linear, z, jax.nn.relu(z)) @ self.W.mT + drive

    def readout(self, z, drive):
        return z
