"""flash-linear-attention's GSA layer: `GatedSlotAttention` at commit bc3b101, as it is made by
default, without short convolutions.
"""

from collections.abc import Mapping
from typing import Any

from .._cells.fast_weights.gsa import SlotKeys
from .._core.validation import check_sizes
from ..blocks.gsa import GSACore, gsa_block
from ..layers.stack import Stack
from ._checks import check_layers
from .weight_table import Weights, WeightTable, same

TABLE = WeightTable(
    make=gsa_block,
    arguments=(
        "input_size",
        "hidden_size=num_heads*value_size",
        "num_heads",
        "key_size",
        "num_slots",
    ),
    rows=(
        same("layers.0.W_q", "q_proj.weight", "num_heads*key_size input_size"),
        same("layers.0.W_k", "k_proj.weight", "num_heads*key_size input_size"),
        same("layers.0.W_alpha", "f_proj.weight", "num_heads*num_slots input_size"),
        same("layers.1.values.W_v", "v_proj.weight", "num_heads*value_size input_size"),
        same("layers.1.scale", "g_norm.weight", "num_heads*value_size"),
        same("layers.1.W_o", "o_proj.weight", "input_size num_heads*value_size"),
    ),
    remedy="pass the state_dict of one GatedSlotAttention, made without short convolutions and "
    "with as many heads of keys and values as of queries, with prefixes such as "
    "'model.layers.0.attn.' cut off the names; and its num_heads.",
    static={"num_heads": "layers.0.num_heads"},
)


def from_fla_gsa(state_dict: Mapping[str, Any], num_heads: int, *, eps: float = 1e-5) -> Stack:
    """The block that computes what fla's `GatedSlotAttention` computes.

    Args:
        state_dict: arrays by the module's names.
        num_heads: the module's `num_heads`.
        eps: ε of the module's norm, which is 1e-5 whatever its `norm_eps`. Its
            `gate_logit_normalizer` is taken to be 8, and its `scale` 1.

    Raises:
        ValueError: where names or shapes do not fit.
    """
    check_sizes("from_fla_gsa", num_heads=num_heads)
    return TABLE.to_ours(state_dict, {"num_heads": num_heads}, eps=eps)


def to_fla_gsa(block: Stack) -> Weights:
    """The inverse of `from_fla_gsa`, for a block of `gsa_block`.

    Raises:
        ValueError: for another layer.
    """
    check_layers(block, "seqmem.blocks.gsa_block", SlotKeys, GSACore)
    return TABLE.to_theirs(block)
