"""flash-linear-attention's Comba layer: `Comba` at commit bc3b101, as it is made by default, with a
gate, inner decay and output correction, as many heads of values as of keys, and short convolutions
that have no bias.
"""

from collections.abc import Mapping
from typing import Any

from ..blocks.comba import CombaCore, comba_block
from ..blocks.short_conv import ShortConv
from ..layers.stack import Stack
from ._checks import check_layers
from ._short_conv import short_conv
from .weight_table import Row, Weights, WeightTable, same

KEYS, VALUES = "num_heads*key_size", "num_heads*value_size"
MIXED = {"q": KEYS, "k": KEYS, "v": VALUES}
BYPASS = {"g": VALUES, "b": "num_heads", "a": "num_heads"}
VECTORS = {"A_log": "A_log", "dt_bias": "dt_bias", "b_0": "decay", "d": "D"}

TABLE = WeightTable(
    make=comba_block,
    arguments=("input_size", "num_heads", "key_size", "width", f"hidden_size={VALUES}"),
    rows=(
        Row(
            {"layers.0.W": f"2*{KEYS}+{VALUES} input_size"},
            {f"{name}_proj.weight": f"{rows} input_size" for name, rows in MIXED.items()},
        ),
        Row(
            {"layers.0.U": f"{VALUES}+2*num_heads input_size"},
            {f"{name}_proj.weight": f"{rows} input_size" for name, rows in BYPASS.items()},
        ),
        short_conv(
            "layers.0.conv.w",
            {f"{name}_conv1d.weight": f"{rows} 1 width" for name, rows in MIXED.items()},
        ),
        *(same(f"layers.1.{path}", name, "num_heads") for path, name in VECTORS.items()),
        same("layers.1.scale", "o_norm.weight", "value_size"),
        same("layers.1.W_o", "o_proj.weight", f"input_size {VALUES}"),
    ),
    remedy="pass the state_dict of one Comba, made with a gate, inner decay, output correction and "
    "short convolutions, with prefixes such as 'model.layers.0.attn.' cut off the names.",
)


def from_fla_comba(state_dict: Mapping[str, Any], *, eps: float = 1e-5) -> Stack:
    """The block that computes what fla's `Comba` computes.

    Args:
        state_dict: arrays by the module's names.
        eps: the module's `norm_eps`.

    Raises:
        ValueError: where names or shapes do not fit.
    """
    return TABLE.to_ours(state_dict, eps=eps)


def to_fla_comba(block: Stack) -> Weights:
    """The inverse of `from_fla_comba`, for a block of `comba_block`.

    Raises:
        ValueError: for another layer.
    """
    check_layers(block, "seqmem.blocks.comba_block", ShortConv, CombaCore)
    return TABLE.to_theirs(block)
