"""flash-linear-attention's GLA layer: `GatedLinearAttention` at commit bc3b101, as it is made by
default, with the fused norm and swish gate and without short convolutions.
"""

from collections.abc import Mapping
from typing import Any

from ..blocks.gla import GLACore, gla_block
from ..layers.stack import Stack
from ._checks import check_layers
from .weight_table import Weights, WeightTable, same

TABLE = WeightTable(
    make=gla_block,
    arguments=("input_size", "hidden_size=num_heads*value_size", "num_heads", "key_size", "rank"),
    rows=(
        same("layers.0.cell.W_q", "q_proj.weight", "num_heads*key_size input_size"),
        same("layers.0.cell.W_k", "k_proj.weight", "num_heads*key_size input_size"),
        same("layers.0.cell.W_v", "v_proj.weight", "num_heads*value_size input_size"),
        same("layers.0.cell.V_a", "gk_proj.0.weight", "rank input_size"),
        same("layers.0.cell.W_a", "gk_proj.1.weight", "num_heads*key_size rank"),
        same("layers.0.cell.b", "gk_proj.1.bias", "num_heads*key_size"),
        same("layers.0.W_g", "g_proj.weight", "num_heads*value_size input_size"),
        same("layers.0.scale", "g_norm_swish_gate.weight", "value_size"),
        same("layers.0.W_o", "o_proj.weight", "input_size num_heads*value_size"),
    ),
    remedy="pass the state_dict of one GatedLinearAttention, made without short convolutions and "
    "with as many heads of keys and values as of queries, with prefixes such as "
    "'model.layers.0.attn.' cut off the names.",
)


def from_fla_gla(state_dict: Mapping[str, Any], *, eps: float = 1e-5) -> Stack:
    """The block that computes what fla's `GatedLinearAttention` computes.

    Args:
        state_dict: arrays by the module's names.
        eps: the module's `norm_eps`. Its `gate_logit_normalizer` is taken to be 16.

    Raises:
        ValueError: where names or shapes do not fit.
    """
    return TABLE.to_ours(state_dict, eps=eps)


def to_fla_gla(block: Stack) -> Weights:
    """The inverse of `from_fla_gla`, for a block of `gla_block`.

    Raises:
        ValueError: for another layer.
    """
    check_layers(block, "seqmem.blocks.gla_block", GLACore)
    return TABLE.to_theirs(block)
