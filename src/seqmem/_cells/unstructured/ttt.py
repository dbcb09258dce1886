"""Test-time training: the state is a model of each head, and a step is a step of its training."""

import abc
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from ..._core.cell import AbstractCell
from ..._core.precision import state_dtype
from ..._core.step import select
from ..._core.validation import check_heads, check_positive, check_sizes
from ..attention.positions import AbstractPositions
from ..initialisers import lecun_normal, normal
from ..normalisation import layer_norm

Model = PyTree  # the weights of the inner models, a head axis in front


class TTTState(NamedTuple):
    """The inner models, perhaps in the middle of a mini-batch.

    Attributes:
        weights: the weights at the start of the mini-batch.
        gradients: the gradients of the steps of the mini-batch so far, each times its learning
            rate, summed.
        step_count: the steps of the mini-batch so far, 1 to b; 0 before the first.
    """

    weights: Model
    gradients: Model
    step_count: Int[Array, ""]


class AbstractTTT(AbstractCell):
    """The layer around the inner model of a `TTTLinear` or a `TTTMLP`, which write `run_model`."""

    gates: ClassVar = ()

    W_q: Float[Array, "hidden input"]
    W_k: Float[Array, "hidden input"]
    W_v: Float[Array, "hidden input"]
    W_eta: Float[Array, "heads input"]
    b_eta: Float[Array, " heads"]
    scale: Float[Array, " step"]
    gamma: Float[Array, "heads size"]
    beta: Float[Array, "heads size"]
    model: Model
    base_lr: float = eqx.field(static=True)
    positions: AbstractPositions = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int,
        mini_batch_size: int,
        base_lr: float,
        positions: AbstractPositions,
        key: PRNGKeyArray,
    ):
        name = type(self).__name__
        check_heads(name, hidden_size, num_heads)
        check_sizes(name, input_size=input_size, mini_batch_size=mini_batch_size)
        check_positive(name, "base_lr", base_lr, remedy="leave it out for the paper's.")
        size = hidden_size // num_heads
        positions.check(size)
        keys = jax.random.split(key, 3)
        self.W_q, self.W_k, self.W_v = lecun_normal(keys[0], (3, hidden_size, input_size))
        self.W_eta = 0.02 * normal(keys[1], (num_heads, input_size))
        self.b_eta = jnp.zeros(num_heads)
        self.scale = jnp.zeros(mini_batch_size)
        self.gamma, self.beta = jnp.ones((num_heads, size)), jnp.zeros((num_heads, size))
        self.model = self.init_model(num_heads, size, keys[2])
        self.base_lr = base_lr
        self.positions = positions

    @abc.abstractmethod
    def init_model(self, num_heads: int, size: int, key: PRNGKeyArray) -> Model:
        """The weights of new inner models, one for each head."""

    @abc.abstractmethod
    def run_model(self, weights: Model, x: Float[Array, "heads size"]) -> Array:
        """The inner models' outputs, before the norm and the residual."""

    @property
    def input_shape(self):
        return self.W_v.shape[-1:]

    def init_state(self):
        dtype = state_dtype(self.W_v)
        weights = jax.tree.map(lambda leaf: leaf.astype(dtype), self.model)
        return TTTState(weights, jax.tree.map(jnp.zeros_like, weights), jnp.zeros((), jnp.int32))

    def project(self, x):
        q, k, v = ((x @ W.mT).reshape(self.gamma.shape) for W in (self.W_q, self.W_k, self.W_v))
        eta = self.base_lr / self.gamma.shape[-1] * sigmoid(x @ self.W_eta.mT + self.b_eta)
        return q, k, v, eta

    def update(self, state, drive):
        _, k, v, eta = drive
        weights, gradients, count = state
        is_full = count == len(self.scale)
        weights = select(is_full, self.weights_of(state), weights)
        gradients = select(is_full, jax.tree.map(jnp.zeros_like, gradients), gradients)
        count = jnp.where(is_full, 0, count)
        k = self.positions.encode(k, count.astype(k.dtype))
        gradient = jax.grad(self.loss)(weights, k, v)
        gradients = jax.tree.map(
            lambda total, leaf: total + eta.reshape(-1, *[1] * (leaf.ndim - 1)) * leaf,
            gradients,
            gradient,
        )
        return TTTState(weights, gradients, count + 1)

    def readout(self, state, drive):
        q, _, _, _ = drive
        q = self.positions.encode(q, (state.step_count - 1).astype(q.dtype))
        return self.predict(self.weights_of(state), q).ravel()

    def weights_of(self, state: TTTState) -> Model:
        """The weights W_t after the steps of the mini-batch so far."""
        step = jnp.arange(1, len(self.scale) + 1, dtype=state.step_count.dtype)
        scales = jnp.maximum(1 / step.astype(self.scale.dtype) + self.scale, 0)
        scale = jnp.sum(jnp.where(step == state.step_count, scales, 0))
        return jax.tree.map(lambda W, G: W - scale * G, state.weights, state.gradients)

    def predict(self, weights: Model, x: Float[Array, "heads size"]) -> Array:
        """f(x): the inner models with their norm and residual."""
        return x + self.gamma * layer_norm(self.run_model(weights, x), 1e-6) + self.beta

    def loss(self, weights: Model, k: Array, v: Array) -> Float[Array, ""]:
        """½ ‖f(k) − v‖², summed over the heads, which share no weights."""
        return jnp.sum((self.predict(weights, k) - v) ** 2) / 2


def product(W: Float[Array, "heads out in"], x: Float[Array, "heads in"]) -> Array:
    """W x of each head."""
    return (W @ x[..., None])[..., 0]
