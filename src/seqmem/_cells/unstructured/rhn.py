from typing import ClassVar

import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.cell import AbstractCell
from ..._core.precision import state_dtype
from ..._core.validation import check_sizes
from ..initialisers import gate_biases, gate_matrices


class RHN(AbstractCell):
    """Recurrent highway network: several highway layers, one after the other, in every step.

        s_0 = h_{t−1}
        n_l = tanh(W_n x_t [l = 1] + R_nl s_{l−1} + b_nl)               for l = 1 … depth
        g_l = σ(W_g x_t [l = 1] + R_gl s_{l−1} + b_gl)                  transform gate
        s_l = g_l ∘ n_l + (1 − g_l) ∘ s_{l−1}
        h_t = s_depth
        y_t = h_t

    Shapes: x (input,), h and y (hidden,); W (2, hidden, input), R and b (depth, 2, ...): n, g. Cost
    per step: O(hidden · (input + depth · hidden)), of which O(depth · hidden²) is sequential, in
    as many products, one after the other, as there are layers.
    Source: Zilly et al. 2016, arXiv:1607.03474. The paper's text was not read; the equations are
    those of its authors' program (RecurrentHighwayNetworks), whose carry gate is 1 − g. Differs: no
    dropout, for which there is `seqmem.with_variational_dropout`; each R is orthogonal at the
    start.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the state, > 0.
        depth: highway layers in a step, > 0.
        transform_bias: initial bias of the transform gates; a negative one keeps the state.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.
    """

    recurrent_weights: ClassVar = ("R",)

    W: Float[Array, "2 hidden input"]
    R: Float[Array, "depth 2 hidden hidden"]
    b: Float[Array, "depth 2 hidden"]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        depth: int,
        transform_bias: float = -2.0,
        key: PRNGKeyArray,
    ):
        check_sizes("RHN", input_size=input_size, hidden_size=hidden_size, depth=depth)
        self.W, self.R = gate_matrices(
            key, (2, hidden_size, input_size), (depth, 2, hidden_size, hidden_size)
        )
        biases = gate_biases(("candidate", "transform"), hidden_size, transform=transform_bias)
        self.b = jnp.broadcast_to(biases, (depth, 2, hidden_size))

    @property
    def input_shape(self):
        return self.W.shape[-1:]

    def init_state(self):
        return jnp.zeros(self.b.shape[-1], state_dtype(self.b))

    def project(self, x):
        return x @ self.W.mT

    def update(self, h, u):
        for layer, R in enumerate(self.R):
            z = h @ R.mT + self.b[layer]
            n, g = z + u if layer == 0 else z
            g = sigmoid(g)
            h = g * jnp.tanh(n) + (1 - g) * h
        return h

    def readout(self, h, u):
        return h
