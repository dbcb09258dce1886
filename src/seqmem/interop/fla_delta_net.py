"""flash-linear-attention's DeltaNet layer: `DeltaNet` at commit bc3b101, as it is made by default,
with β, short convolutions that have no bias, SiLU and unit length, and no gate.
"""

from collections.abc import Mapping
from typing import Any

from ..blocks.delta_net import DeltaCore, delta_net_block
from ..blocks.short_conv import ShortConv
from ..layers.stack import Stack
from ._checks import check_layers, check_option
from ._short_conv import short_conv
from .fla_comba import KEYS, MIXED, VALUES
from .weight_table import Row, Weights, WeightTable, at, same

TABLE = WeightTable(
    make=delta_net_block,
    arguments=("input_size", "num_heads", "key_size", "width", f"hidden_size={VALUES}"),
    rows=(
        Row(
            {"layers.0.W": f"2*{KEYS}+{VALUES} input_size"},
            {f"{name}_proj.weight": f"{size} input_size" for name, size in MIXED.items()},
        ),
        same("layers.0.U", "b_proj.weight", "num_heads input_size"),
        short_conv(
            "layers.0.conv.w",
            {f"{name}_conv1d.weight": f"{size} 1 width" for name, size in MIXED.items()},
        ),
        same("layers.1.scale", "o_norm.weight", "value_size"),
        same("layers.1.W_o", "o_proj.weight", f"input_size {VALUES}"),
    ),
    remedy="pass the state_dict of one DeltaNet, made with β and short convolutions and without a "
    "gate, with prefixes such as 'model.layers.0.attn.' cut off the names.",
)


def from_fla_delta_net(
    state_dict: Mapping[str, Any], *, beta_max: float = 1.0, eps: float = 1e-5
) -> Stack:
    """The block that computes what fla's `DeltaNet` computes.

    Args:
        state_dict: arrays by the module's names.
        beta_max: 2 for a module with `allow_neg_eigval`.
        eps: the module's `norm_eps`.

    Raises:
        ValueError: where names or shapes do not fit.
    """
    return TABLE.to_ours(state_dict, beta_max=beta_max, eps=eps)


def to_fla_delta_net(block: Stack) -> Weights:
    """The inverse of `from_fla_delta_net`, for a block of `delta_net_block`.

    Raises:
        ValueError: for another layer, or a `beta_max` that is neither 1 nor 2.
    """
    check_layers(block, "seqmem.blocks.delta_net_block", ShortConv, DeltaCore)
    check_option("beta_max", at(block, "layers.1.beta_max"), (1, 2))
    return TABLE.to_theirs(block)
