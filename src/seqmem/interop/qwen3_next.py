"""The Gated DeltaNet layer of Qwen3-Next: `Qwen3NextGatedDeltaNet` of Hugging Face transformers
5.24.0.

    in_proj_qkvz.weight    for each key head: its rows of q and k, then v and z of its value heads
    in_proj_ba.weight      for each key head: b and a of its value heads
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..blocks.gated_delta_net import GatedDeltaCore, gated_delta_net_block
from ..blocks.short_conv import ShortConv
from ..layers.stack import Stack
from ._checks import check_layers, check_option
from ._named_shapes import Sizes
from ._short_conv import short_conv
from .fla_gated_delta_net import ARGUMENTS, KEYS, VALUES
from .weight_table import Row, Weights, WeightTable, at, same


def _order(sizes: Sizes) -> np.ndarray:
    """The places of the rows of [q; k; v; z; b; a] in [in_proj_qkvz; in_proj_ba]."""
    groups, key = sizes["num_key_heads"], sizes["key_size"]
    heads = sizes["num_heads"] // groups
    values = heads * sizes["value_size"]
    qkvz = _rows_by_part(groups, (key, key, values, values))
    return np.concatenate([qkvz, len(qkvz) + _rows_by_part(groups, (heads, heads))])


def _rows_by_part(groups: int, parts: tuple[int, ...]) -> np.ndarray:
    """Rows that are ordered by group and then by part, ordered by part and then by group."""
    rows = np.arange(groups * sum(parts)).reshape(groups, -1)
    return np.concatenate([part.ravel() for part in np.split(rows, np.cumsum(parts)[:-1], 1)])


TABLE = WeightTable(
    make=gated_delta_net_block,
    arguments=ARGUMENTS,
    rows=(
        Row(
            {
                "layers.0.W": f"2*{KEYS}+{VALUES} input_size",
                "layers.0.U": f"{VALUES}+2*num_heads input_size",
            },
            {
                "in_proj_qkvz.weight": f"2*{KEYS}+2*{VALUES} input_size",
                "in_proj_ba.weight": "2*num_heads input_size",
            },
            order=_order,
        ),
        short_conv("layers.0.conv.w", {"conv1d.weight": f"2*{KEYS}+{VALUES} 1 width"}),
        same("layers.1.A_log", "A_log", "num_heads"),
        same("layers.1.dt_bias", "dt_bias", "num_heads"),
        same("layers.1.scale", "norm.weight", "value_size"),
        same("layers.1.W_o", "out_proj.weight", f"input_size {VALUES}"),
    ),
    remedy="pass the state_dict of one Qwen3NextGatedDeltaNet, with prefixes such as "
    "'model.layers.0.linear_attn.' cut off the names, and its config's linear_num_key_heads.",
    static={"num_key_heads": "layers.1.num_key_heads"},
    groups={"num_key_heads": "num_heads"},
)


def from_qwen3_next(
    state_dict: Mapping[str, Any], num_key_heads: int, *, eps: float = 1e-6
) -> Stack:
    """The block that computes what a `Qwen3NextGatedDeltaNet` computes.

    Args:
        state_dict: arrays by the module's names.
        num_key_heads: the config's `linear_num_key_heads`, which the arrays do not tell.
        eps: the config's `rms_norm_eps`.

    Raises:
        ValueError: where names or shapes do not fit.
    """
    return TABLE.to_ours(state_dict, {"num_key_heads": num_key_heads}, eps=eps)


def to_qwen3_next(block: Stack) -> Weights:
    """The inverse of `from_qwen3_next`, for a block of `gated_delta_net_block`.

    Raises:
        ValueError: for another layer, or a `beta_max` that is not 1.
    """
    check_layers(block, "seqmem.blocks.gated_delta_net_block", ShortConv, GatedDeltaCore)
    check_option("beta_max", at(block, "layers.1.beta_max"), (1,))
    return TABLE.to_theirs(block)
