from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..attention.positions import AbstractPositions, RoPE
from ..initialisers import normal
from .ttt import AbstractTTT, product


class LinearModel(NamedTuple):
    """The inner models of a `TTTLinear`."""

    W: Float[Array, "heads size size"]
    b: Float[Array, "heads size"]


class TTTLinear(AbstractTTT):
    """Test-time training of a linear model: the state is a model of each head, and every step
    trains it to predict the value from the key.

        q_t, k_t, v_t = W_q x_t, W_k x_t, W_v x_t                     of each head; q, k with RoPE
        f(x; W) = x + γ ∘ LN(W x + b) + β                             the inner model
        G_t = G_{t−1} + η_t ∇ ½ ‖f(k_t; W_{t'}) − v_t‖²,    η_t = lr · σ(W_η x_t + b_η) / size
        W_t = W_{t'} − max(1/i + scale_i, 0) G_t,    y_t = f(q_t; W_t)

    Time is cut into mini-batches of b steps. i = 1, ..., b is the step within its mini-batch, which
    RoPE counts too; t' is the last step before the mini-batch, at which G is 0, so that all its
    gradients are taken at W_{t'}. W stands for the pair (W, b).

    Shapes: x (input,), q, k and v (heads, size), η (heads,), γ and β (heads, size), W (heads, size,
    size), scale (b,), y (hidden,) with hidden = heads · size; the state has W_{t'}, G_t and i. Cost
    per step: O(hidden · (input + size)), of which O(hidden · size), for the model, is sequential.
    Source: Sun et al. 2024, arXiv:2407.04620 (its text was not at hand), by the authors' programs,
    ttt-lm-jax and ttt-lm-pytorch, `TTTLinear`. Differs: their norm, gate and projection after y,
    and the convolutions of their Mamba backbone, are left to the network around the cell; their
    programs go on from a mini-batch that is not full in decoding only. At the start W and W_η are
    normal with the standard deviation 0.02, as there, γ is 1 and all else of the model 0.

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
        base_lr: float = 1.0,
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
        W = 0.02 * normal(key, (num_heads, size, size))
        return LinearModel(W, jnp.zeros((num_heads, size)))

    def run_model(self, weights, x):
        return product(weights.W, x) + weights.b
