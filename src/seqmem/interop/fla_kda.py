"""flash-linear-attention's KDA layer: `KimiDeltaAttention` at commit bc3b101, as it is made by
default, with as many heads of values as of keys, short convolutions that have no bias, and no lower
bound of the decay.
"""

from collections.abc import Mapping
from typing import Any

from ..blocks.kda import KDACore, kda_block
from ..blocks.short_conv import ShortConv
from ..layers.stack import Stack
from ._checks import check_layers, check_option
from ._short_conv import short_conv
from .fla_comba import KEYS, MIXED, VALUES
from .weight_table import Row, Weights, WeightTable, at, same

OTHERS = {"f_proj.0": "value_size", "g_proj.0": "value_size", "b_proj": "num_heads"}

TABLE = WeightTable(
    make=kda_block,
    arguments=("input_size", "num_heads", "key_size", "width", f"hidden_size={VALUES}"),
    rows=(
        Row(
            {"layers.0.W": f"2*{KEYS}+{VALUES} input_size"},
            {f"{name}_proj.weight": f"{size} input_size" for name, size in MIXED.items()},
        ),
        Row(
            {"layers.0.U": "2*value_size+num_heads input_size"},
            {f"{name}.weight": f"{size} input_size" for name, size in OTHERS.items()},
        ),
        short_conv(
            "layers.0.conv.w",
            {f"{name}_conv1d.weight": f"{size} 1 width" for name, size in MIXED.items()},
        ),
        same("layers.1.W_f", "f_proj.1.weight", f"{KEYS} value_size"),
        same("layers.1.dt_bias", "dt_bias", KEYS),
        same("layers.1.A_log", "A_log", "num_heads"),
        same("layers.1.W_g", "g_proj.1.weight", f"{VALUES} value_size"),
        same("layers.1.b_g", "g_proj.1.bias", VALUES),
        same("layers.1.scale", "o_norm.weight", "value_size"),
        same("layers.1.W_o", "o_proj.weight", f"input_size {VALUES}"),
    ),
    remedy="pass the state_dict of one KimiDeltaAttention, made with short convolutions and "
    "without num_v_heads, with prefixes such as 'model.layers.0.attn.' cut off the names.",
)


def from_fla_kda(
    state_dict: Mapping[str, Any], *, beta_max: float = 1.0, eps: float = 1e-5
) -> Stack:
    """The block that computes what fla's `KimiDeltaAttention` computes.

    Args:
        state_dict: arrays by the module's names.
        beta_max: 2 for a module with `allow_neg_eigval`.
        eps: the module's `norm_eps`. Its `lower_bound` is taken to be None.

    Raises:
        ValueError: where names or shapes do not fit.
    """
    return TABLE.to_ours(state_dict, beta_max=beta_max, eps=eps)


def to_fla_kda(block: Stack) -> Weights:
    """The inverse of `from_fla_kda`, for a block of `kda_block`.

    Raises:
        ValueError: for another layer, or a `beta_max` that is neither 1 nor 2.
    """
    check_layers(block, "seqmem.blocks.kda_block", ShortConv, KDACore)
    check_option("beta_max", at(block, "layers.1.beta_max"), (1, 2))
    return TABLE.to_theirs(block)
