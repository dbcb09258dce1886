import equinox as eqx
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.precision import state_dtype
from ..initialisers import lecun_normal
from .family import AbstractDiagonalCell


class MinGRU(AbstractDiagonalCell):
    """Minimal gated recurrent unit: the gate looks at the input only, so the state moves linearly.

        z_t = σ(W_z x_t + b_z)
        c_t = W_c x_t + b_c
        h_t = (1 − z_t) ∘ h_{t−1} + z_t ∘ c_t
        y_t = h_t

    Shapes: x (input,), h and y (hidden,). Cost per step: O(input · hidden), of which O(hidden) is
    sequential.
    Source: Feng et al. 2024, arXiv:2410.01201, section 3.1. Differs: none (its log-space form
    wants positive states, for which it puts a function g on c_t; this form does not need it).

    Args:
        input_size: entries of one input, > 0.
        hidden_size: entries of the state, > 0.
        key: for the initial parameters.
    """

    gates = ("update", "candidate")

    W: Float[Array, "2 hidden input"]
    b: Float[Array, "2 hidden"]
    input_shape: tuple[int, ...] = eqx.field(static=True)  # pyright: ignore
    hidden_size: int = eqx.field(static=True)

    def __init__(self, input_size: int, hidden_size: int, *, key: PRNGKeyArray):
        self.W = lecun_normal(key, (2, hidden_size, input_size))
        self.b = jnp.zeros((2, hidden_size))
        self.input_shape = (input_size,)
        self.hidden_size = hidden_size

    def init_state(self):
        return jnp.zeros(self.hidden_size, state_dtype(self.b))

    def project(self, x):
        z, c = x @ self.W.mT + self.b
        return sigmoid(z), c

    def update(self, h, u):
        z, c = u
        return (1 - z) * h + z * c

    def readout(self, h, u):
        return h
