from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.cell import AbstractCell
from ..._core.precision import state_dtype
from ..._core.timed import Timed
from ..._core.validation import check_sizes
from ..initialisers import lecun_normal


def lecun_tanh(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """1.7159 tanh(0.666 z), which is about 1 at 1."""
    return 1.7159 * jnp.tanh(0.666 * z)


class CfC(AbstractCell):
    """Closed-form continuous-time network: the state moves from one vector to another as time
    passes, both of which, and the speed, a small network makes of the input and the last state.

        a_t = φ(W x_t + U h_{t−1} + b),  φ(z) = 1.7159 tanh(0.666 z)
        a_t = φ(V_l a_t + c_l)                                            for each further layer l
        g_t = tanh(H_g a_t + d_g),  k_t = tanh(H_k a_t + d_k)
        f_t = σ((H_f a_t + d_f) Δt_t + H_τ a_t + d_τ)
        h_t = (1 − f_t) ∘ g_t + f_t ∘ k_t
        y_t = h_t

    The input is `seqmem.Timed(x, delta_t)`, Δt in any unit.

    Shapes: x (input,), Δt (), a (backbone,), h, g, f, k and y (hidden,); H and d have the rows g,
    k, f, τ. Cost per step: O(backbone · (input + num_layers · backbone + hidden)), of which
    O(backbone · (num_layers · backbone + hidden)) is sequential, in num_layers + 1 products, one
    after the other.
    Source: Hasani et al. 2022, arXiv:2106.13898, as in the authors' program, ncps, in its mode
    "default", from which the equations are taken; the paper's text was not read. Differs: the start
    is normal with variance 1 / columns; no dropout in the backbone.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of the state, > 0.
        backbone_size: units in each layer of the network, > 0.
        num_layers: layers of the network before H, > 0.
        key: random key for the initial parameters.

    Raises:
        ValueError: for a size that is not a whole number of at least 1.

    Example:
        >>> import jax, jax.numpy as jnp, seqmem
        >>> cell = seqmem.CfC(3, 5, key=jax.random.key(0))
        >>> xs = seqmem.Timed(jnp.ones((7, 3)), jnp.linspace(0.1, 2, 7))
        >>> seqmem.unroll(cell, None, xs)[1].shape
        (7, 5)
    """

    recurrent_weights: ClassVar = ("U",)

    W: Float[Array, "backbone input"]
    U: Float[Array, "backbone hidden"]
    b: Float[Array, " backbone"]
    V: Float[Array, "further backbone backbone"]
    c: Float[Array, "further backbone"]
    H: Float[Array, "4 hidden backbone"]
    d: Float[Array, "4 hidden"]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        backbone_size: int = 128,
        num_layers: int = 1,
        key: PRNGKeyArray,
    ):
        check_sizes(
            "CfC",
            input_size=input_size,
            hidden_size=hidden_size,
            backbone_size=backbone_size,
            num_layers=num_layers,
        )
        keys = jax.random.split(key, 3)
        first = lecun_normal(keys[0], (backbone_size, input_size + hidden_size))
        self.W, self.U = first[:, :input_size], first[:, input_size:]
        self.b = jnp.zeros(backbone_size)
        self.V = lecun_normal(keys[1], (num_layers - 1, backbone_size, backbone_size))
        self.c = jnp.zeros((num_layers - 1, backbone_size))
        self.H = lecun_normal(keys[2], (4, hidden_size, backbone_size))
        self.d = jnp.zeros((4, hidden_size))

    @property
    def input_shape(self):
        return Timed(self.W.shape[-1:], ())

    def init_state(self):
        return jnp.zeros(self.d.shape[-1], state_dtype(self.b))

    def project(self, x):
        return x.x @ self.W.mT + self.b, x.delta_t

    def update(self, h, u):
        u, delta_t = u
        a = lecun_tanh(h @ self.U.mT + u)
        for layer in range(self.c.shape[-2]):
            a = lecun_tanh(a @ self.V[layer].mT + self.c[layer])
        g, k, speed, offset = a @ self.H.mT + self.d
        f = sigmoid(speed * delta_t + offset)
        return (1 - f) * jnp.tanh(g) + f * jnp.tanh(k)

    def readout(self, h, u):
        return h
