"""The lightning attention of MiniMax-01: `MiniMaxLightningAttention` of Hugging Face transformers
5.24.0.

    qkv_proj.weight    for each head: its rows of q, k and v
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..blocks.lightning_attention import LightningCore, lightning_attention_block
from ..layers.stack import Stack
from ._checks import check_layers
from ._named_shapes import Sizes
from .weight_table import Row, Weights, WeightTable, same

HIDDEN = "num_heads*value_size"
BUFFERS = {"slope_rate", "query_decay", "key_decay", "diagonal_decay"}  # follow from the config


def _order(sizes: Sizes) -> np.ndarray:
    """The places of the rows of [q; k; v] in qkv_proj."""
    heads, size = sizes["num_heads"], sizes["value_size"]
    return np.arange(3 * heads * size).reshape(heads, 3, size).swapaxes(0, 1).ravel()


TABLE = WeightTable(
    make=lightning_attention_block,
    arguments=("input_size", f"hidden_size={HIDDEN}", "num_heads"),
    rows=(
        Row(
            {f"layers.0.cell.W_{name}": f"{HIDDEN} input_size" for name in "qkv"},
            {"qkv_proj.weight": f"3*{HIDDEN} input_size"},
            order=_order,
        ),
        same("layers.0.W_g", "output_gate.weight", f"{HIDDEN} input_size"),
        same("layers.0.scale", "norm.weight", HIDDEN),
        same("layers.0.W_o", "out_proj.weight", f"input_size {HIDDEN}"),
    ),
    remedy="pass the state_dict of one MiniMaxLightningAttention, with prefixes such as "
    "'model.layers.0.self_attn.' cut off the names, and its config's num_attention_heads.",
    static={"num_heads": "layers.0.cell.num_heads"},
)


def from_minimax(
    state_dict: Mapping[str, Any],
    num_heads: int,
    *,
    layer: int = 0,
    num_layers: int = 1,
    eps: float = 1e-6,
) -> Stack:
    """The block that computes what a `MiniMaxLightningAttention` computes.

    Args:
        state_dict: arrays by the module's names.
        num_heads: the config's `num_attention_heads`, which the arrays do not tell.
        layer: the module's `layer_idx`.
        num_layers: the config's `num_hidden_layers`.
        eps: that of the module's norm.

    Raises:
        ValueError: where names or shapes do not fit.
    """
    weights = {name: array for name, array in state_dict.items() if name not in BUFFERS}
    options = {"layer": layer, "num_layers": num_layers, "eps": eps}
    return TABLE.to_ours(weights, {"num_heads": num_heads}, **options)


def to_minimax(block: Stack) -> Weights:
    """The inverse of `from_minimax`, for a block of `lightning_attention_block`: the parameters
    alone, since the decays follow from the config.

    Raises:
        ValueError: for another layer.
    """
    check_layers(block, "seqmem.blocks.lightning_attention_block", LightningCore)
    return TABLE.to_theirs(block)
