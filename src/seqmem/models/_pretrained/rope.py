"""Rotary embeddings of Hugging Face transformers, which rotate entry i with entry i + size/2 of a
head; `seqmem.RoPE` rotates neighbours.
"""

import numpy as np

from ..._cells.attention.positions import RoPE
from .layout import Config, check_value


def rope_of(config: Config, head_size: int, *, fraction: float) -> RoPE:
    """The positions of a config: of `rope_parameters`, or of entries by the same names.

    Args:
        config: of a model.
        head_size: the features of a head.
        fraction: `partial_rotary_factor` where the config has none.

    Raises:
        ValueError: for positions that are scaled.
    """
    check_value(config, "rope_scaling", None)
    parameters = config.get("rope_parameters") or config
    check_value({**parameters, "model_type": config.get("model_type")}, "rope_type", "default")
    size = int(head_size * parameters.get("partial_rotary_factor", fraction))
    return RoPE(parameters.get("rope_theta", 10000.0), size=size)


def neighbours(num_heads: int, head_size: int, rope: RoPE) -> np.ndarray:
    """The places, among rows of which i and i + size/2 of each head are rotated together, of rows
    of which neighbours are.
    """
    size = rope.size or head_size
    rows = np.arange(num_heads * head_size).reshape(num_heads, head_size)
    pairs = rows[:, :size].reshape(num_heads, 2, -1).swapaxes(1, 2).reshape(num_heads, -1)
    return np.concatenate([pairs, rows[:, size:]], 1).ravel()
