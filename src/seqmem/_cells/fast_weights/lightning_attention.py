import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import silu
from jaxtyping import Array, Float, PRNGKeyArray

from ..._core.errors import bad_input
from ..._core.validation import check_heads, check_sizes
from ..initialisers import lecun_normal
from .family import AbstractFastWeightCell
from .heads import empty_memory, per_head
from .write import Write


class LightningAttention(AbstractFastWeightCell):
    """Linear attention with a fixed decay per head, which is weaker in the upper layers of a model.

        q_t = SiLU(W_q x_t),  k_t = SiLU(W_k x_t),  v_t = SiLU(W_v x_t)                 of each head
        ln λ_h = −2^(−8h/H) (1 − l/(L − 1 + 10⁻⁵) + 10⁻⁵),    h = 1, ..., H
        S_t = λ_h S_{t−1} + v_t k_tᵀ,    y_t = S_t q_t

    H is the number of heads, l the layer, from 0, and L the number of layers.

    Shapes: x (input,), q and k (heads, key), v (heads, value), S (heads, value, key), y (hidden,)
    with hidden = heads · value. Cost per step: O(input · hidden) for the projections, none of it
    sequential, and O(hidden · key) for the memory, sequential from chunk to chunk only.
    Source: MiniMax 2025 (MiniMax-01), arXiv:2501.08313; its equations were not read in the paper
    but in `MiniMaxLightningAttention` of Hugging Face transformers 5.24.0. Differs: the output
    norm, gate and projection are in `seqmem.blocks.lightning_attention_block`.

    Args:
        input_size: features of one input, > 0.
        hidden_size: features of one output, a multiple of `num_heads`.
        num_heads: number of heads, > 0.
        key_size: features of the key of one head, > 0; None: as of its value.
        layer: the layer of the model that the cell stands in, from 0.
        num_layers: layers of the model, > `layer`.
        key: random key for the initial parameters.

    Raises:
        ValueError: where the heads do not divide the hidden size, a size is below 1, or the model
            has no such layer.
    """

    W_q: Float[Array, "keys input"]
    W_k: Float[Array, "keys input"]
    W_v: Float[Array, "hidden input"]
    num_heads: int = eqx.field(static=True)
    layer: int = eqx.field(static=True)
    num_layers: int = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int,
        key_size: int | None = None,
        layer: int = 0,
        num_layers: int = 1,
        key: PRNGKeyArray,
    ):
        check_heads("LightningAttention", hidden_size, num_heads)
        key_size = hidden_size // num_heads if key_size is None else key_size
        check_sizes("LightningAttention", input_size=input_size, key_size=key_size)
        check_layer("LightningAttention", layer, num_layers)
        qk_key, v_key = jax.random.split(key)
        self.W_q, self.W_k = lecun_normal(qk_key, (2, num_heads * key_size, input_size))
        self.W_v = lecun_normal(v_key, (hidden_size, input_size))
        self.num_heads = num_heads
        self.layer = layer
        self.num_layers = num_layers

    @property
    def input_shape(self):
        return self.W_v.shape[-1:]

    def init_state(self):
        value_size, key_size = (len(W) // self.num_heads for W in (self.W_v, self.W_k))
        return empty_memory(self.num_heads, value_size, key_size, self.W_v)

    def project(self, x):
        q, k, v = (per_head(silu(x @ W.mT), self.num_heads) for W in (self.W_q, self.W_k, self.W_v))
        slopes = 2.0 ** (-8 * np.arange(1, self.num_heads + 1) / self.num_heads)
        depth = 1 - self.layer / (self.num_layers - 1 + 1e-5) + 1e-5
        return Write(q, k, v, jnp.asarray(-slopes[:, None] * depth, q.dtype)), None

    def output(self, reading, extra):
        return reading.ravel()


def check_layer(owner: str, layer: int, num_layers: int) -> None:
    """Refuse a layer that a model of so many layers does not have.

    Raises:
        ValueError: for a layer below 0, or not below the number of layers.
    """
    if not 0 <= layer < num_layers:
        raise bad_input(
            f"{owner} got layer={layer} of num_layers={num_layers}.",
            "a layer from 0 to num_layers − 1.",
            "leave both out for the decays of a model's first layer.",
        )
