"""What the blocks of preconditioned delta rules share: the memory of squared keys, the write."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax.nn import sigmoid, softplus
from jaxtyping import Array, Float

from .._cells.diagonal.family import AbstractDiagonalCell
from .._cells.fast_weights.heads import per_head, unit
from .._cells.fast_weights.write import Write
from .._core.precision import state_dtype

BOUND = 1.5  # entries of the preconditioner lie in [1/1.5, 1.5]
EPSILON = 1e-6


class PreconditionedInput(NamedTuple):
    """What the memory of a preconditioned delta rule gets."""

    query: Float[Array, "heads key"]
    key: Float[Array, "heads key"]  # of length 1
    preconditioned_key: Float[Array, "heads key"]
    value: Float[Array, "heads value"]
    others: Float[Array, " others"]


class KeyCurvature(AbstractDiagonalCell):
    """The second layer of the blocks of preconditioned delta rules, which have its equations.

    Shapes: x is ((queries + keys + values,), (2 heads + others,)): the filtered q, k and v, and the
    unfiltered γ̂, â and what is passed on. A (heads, key).
    """

    input_shape: ClassVar[Any] = ((None,), (None,))

    A_log: Float[Array, " heads"]
    dt_bias: Float[Array, " heads"]
    center: Float[Array, " heads"]
    key_size: int = eqx.field(static=True)

    def init_state(self):
        return jnp.zeros((len(self.center), self.key_size), state_dtype(self.center))

    def project(self, x):
        (qkv, others), num_heads = x, len(self.center)
        all_keys = num_heads * self.key_size
        q, k, v = jnp.split(qkv, (all_keys, 2 * all_keys))
        q, k, v = (per_head(leaf, num_heads) for leaf in (q, k, v))
        gamma, a, others = jnp.split(others, (num_heads, 2 * num_heads))
        log_decay = -jnp.exp(self.A_log) * softplus(a + self.dt_bias)
        shown = PreconditionedInput(unit(q), unit(k), k, v, others)
        return sigmoid(gamma)[:, None], log_decay[:, None], shown

    def update(self, state, drive):
        gamma, log_decay, shown = drive
        return jnp.exp(log_decay) * state + gamma * shown.key**2

    def readout(self, state, drive):
        shown = drive[-1]
        log_curvature = jnp.log(jnp.where(state < 0, 0, state) + EPSILON)
        distance = log_curvature - self.center[:, None]
        M = BOUND ** (-distance / (1 + jnp.abs(distance)))
        return shown._replace(preconditioned_key=M * shown.key)


def preconditioned_delta_rule(
    x: PreconditionedInput,
    beta: Float[Array, "heads 1"],
    log_alpha: Float[Array, "heads key_or_1"],
) -> Write:
    """S_t = S_{t−1} diag(α_t) (I − β_t k̃_t p_tᵀ) + β_t v_t p_tᵀ, p the preconditioned key."""
    query = x.query * x.query.shape[-1] ** -0.5
    remove = beta * jnp.exp(log_alpha) * x.key
    return Write(query, x.preconditioned_key, beta * x.value, log_alpha, remove=remove)
