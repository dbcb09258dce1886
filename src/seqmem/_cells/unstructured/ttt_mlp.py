from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..attention.positions import AbstractPositions, RoPE
from ..initialisers import normal
from .ttt import AbstractTTT, product

EXPANSION = 4


class MLPModel(NamedTuple):
    """The inner models of a `TTTMLP`."""

    W_1: Float[Array, "heads wide size"]
    b_1: Float[Array, "heads wide"]
    W_2: Float[Array, "heads size wide"]
    b_2: Float[Array, "heads size"]


class TTTMLP(AbstractTTT):
    """Test-time training of an MLP: `TTTLinear` with two layers as the inner model.

        q_t, k_t, v_t = W_q x_t, W_k x_t, W_v x_t                     of each head; q, k with RoPE
        f(x; W) = x + γ ∘ LN(W_2 GELU(W_1 x + b_1) + b_2) + β         the inner model
        G_t = G_{t−1} + η_t ∇ ½ ‖f(k_t; W_{t'}) − v_t‖²,    η_t = lr · σ(W_η x_t + b_η) / size
        W_t = W_{t'} − max(1/i + scale_i, 0) G_t,    y_t = f(q_t; W_t)

    Time is cut into mini-batches of b steps. i = 1, ..., b is the step within its mini-batch, which
    RoPE counts too; t' is the last step before the mini-batch, at which G is 0, so that all its
    gradients are taken at W_{t'}. W stands for all weights of f, GELU for its form with tanh.

    Shapes: x (input,), q, k and v (heads, size), η (heads,), γ and β (heads, size), W_1 (heads,
    4 size, size), W_2 (heads, size, 4 size), scale (b,), y (hidden,) with hidden = heads · size;
    the state has W_{t'}, G_t and i. Cost per step: O(hidden · (input + size)), of which
    O(hidden · size), for the model, is sequential.
    Source: Sun et al. 2024, arXiv:2407.04620 (its text was not at hand), by the authors' programs,
    ttt-lm-jax and ttt-lm-pytorch, `TTTMLP`. Differs, and starts, as `TTTLinear` does.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of one output, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        mini_batch_size: b, the steps whose gradients are taken at the same weights, > 0.
        base_lr: lr, the largest learning rate times the size of a head, > 0.
        positions: how keys and queries encode the step of the mini-batch.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, a size is below 1, base_lr is not
            above 0, or RoPE gets heads of an odd size.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int,
        mini_batch_size: int = 16,
        base_lr: float = 0.1,
        positions: AbstractPositions = RoPE(),
        key: PRNGKeyArray,
    ):
        super().__init__(
            input_size,
            hidden_size,
            num_heads=num_heads,
            mini_batch_size=mini_batch_size,
            base_lr=base_lr,
            positions=positions,
            key=key,
        )

    def init_model(self, num_heads, size, key):
        wide = EXPANSION * size
        keys = jax.random.split(key)
        return MLPModel(
            0.02 * normal(keys[0], (num_heads, wide, size)),
            jnp.zeros((num_heads, wide)),
            0.02 * normal(keys[1], (num_heads, size, wide)),
            jnp.zeros((num_heads, size)),
        )

    def run_model(self, weights, x):
        hidden = jax.nn.gelu(product(weights.W_1, x) + weights.b_1)
        return product(weights.W_2, hidden) + weights.b_2
