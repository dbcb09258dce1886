"""flash-linear-attention's Gated DeltaNet layer: `GatedDeltaNet` at commit bc3b101, as it is made
by default, with a gate, and with short convolutions that have no bias.
"""

from collections.abc import Mapping
from typing import Any

from ..blocks.gated_delta_net import GatedDeltaCore, gated_delta_net_block
from ..blocks.short_conv import ShortConv
from ..layers.stack import Stack
from ._checks import check_layers, check_option
from ._short_conv import short_conv
from .weight_table import Row, Weights, WeightTable, at, same

KEYS, VALUES = "num_key_heads*key_size", "num_heads*value_size"
SIZES = ("input_size", "num_heads", "key_size", "num_key_heads", "width")
ARGUMENTS = (*SIZES, f"hidden_size={VALUES}")
MIXED = {"q": KEYS, "k": KEYS, "v": VALUES}
OTHERS = {"g": VALUES, "b": "num_heads", "a": "num_heads"}

TABLE = WeightTable(
    make=gated_delta_net_block,
    arguments=ARGUMENTS,
    rows=(
        Row(
            {"layers.0.W": f"2*{KEYS}+{VALUES} input_size"},
            {f"{name}_proj.weight": f"{rows} input_size" for name, rows in MIXED.items()},
        ),
        Row(
            {"layers.0.U": f"{VALUES}+2*num_heads input_size"},
            {f"{name}_proj.weight": f"{rows} input_size" for name, rows in OTHERS.items()},
        ),
        short_conv(
            "layers.0.conv.w",
            {f"{name}_conv1d.weight": f"{rows} 1 width" for name, rows in MIXED.items()},
        ),
        same("layers.1.A_log", "A_log", "num_heads"),
        same("layers.1.dt_bias", "dt_bias", "num_heads"),
        same("layers.1.scale", "o_norm.weight", "value_size"),
        same("layers.1.W_o", "o_proj.weight", f"input_size {VALUES}"),
    ),
    remedy="pass the state_dict of one GatedDeltaNet, made with a gate and short convolutions, "
    "with prefixes such as 'model.layers.0.attn.' cut off the names; and its num_heads, where "
    "num_v_heads differs.",
    static={"num_key_heads": "layers.1.num_key_heads"},
    groups={"num_key_heads": "num_heads"},
)


def from_fla_gated_delta_net(
    state_dict: Mapping[str, Any],
    num_key_heads: int | None = None,
    *,
    beta_max: float = 1.0,
    eps: float = 1e-5,
) -> Stack:
    """The block that computes what fla's `GatedDeltaNet` computes.

    Args:
        state_dict: arrays by the module's names.
        num_key_heads: the module's `num_heads`; None is the number of value heads.
        beta_max: 2 for a module with `allow_neg_eigval`.
        eps: the module's `norm_eps`.

    Raises:
        ValueError: where names or shapes do not fit.
    """
    return TABLE.to_ours(state_dict, {"num_key_heads": num_key_heads}, beta_max=beta_max, eps=eps)


def to_fla_gated_delta_net(block: Stack) -> Weights:
    """The inverse of `from_fla_gated_delta_net`, for a block of `gated_delta_net_block`.

    Raises:
        ValueError: for another layer, or a `beta_max` that is neither 1 nor 2.
    """
    check_layers(block, "seqmem.blocks.gated_delta_net_block", ShortConv, GatedDeltaCore)
    check_option("beta_max", at(block, "layers.1.beta_max"), (1, 2))
    return TABLE.to_theirs(block)
