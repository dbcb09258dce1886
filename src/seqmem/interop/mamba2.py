"""The Mamba-2 mixer: `Mamba2Mixer` of Hugging Face transformers 5.24.0, whose names are those of
`Mamba2` of state-spaces, without biases in its projections.

    in_proj.weight = [U_z; W; U_a]
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..blocks.mamba2 import Mamba2Core, mamba2_block
from ..blocks.short_conv import ShortConv
from ..layers.stack import Stack
from ._checks import check_layers
from ._named_shapes import Sizes, size_of
from ._short_conv import short_conv
from .weight_table import Row, Weights, WeightTable, same

SIZES = ("input_size", "num_heads", "key_size", "num_groups", "width")
VALUES = "num_heads*value_size"
MIXED = f"{VALUES}+2*num_groups*key_size"  # the rows of v, B and C


def _order(sizes: Sizes) -> np.ndarray:
    """The places of the rows of [v, B, C; z; a] in [z; v, B, C; a]."""
    values, mixed, rest = (size_of(words, sizes) for words in (VALUES, MIXED, "num_heads"))
    z, vBC, a = np.split(np.arange(values + mixed + rest), (values, values + mixed))
    return np.concatenate([vBC, z, a])


TABLE = WeightTable(
    make=mamba2_block,
    arguments=(*SIZES, f"hidden_size={VALUES}"),
    rows=(
        Row(
            {"layers.0.W": f"{MIXED} input_size", "layers.0.U": f"{VALUES}+num_heads input_size"},
            {"in_proj.weight": f"{VALUES}+{MIXED}+num_heads input_size"},
            order=_order,
        ),
        short_conv("layers.0.conv.w", {"conv1d.weight": f"{MIXED} 1 width"}),
        same("layers.0.conv.b", "conv1d.bias", MIXED),
        same("layers.1.A_log", "A_log", "num_heads"),
        same("layers.1.dt_bias", "dt_bias", "num_heads"),
        same("layers.1.D", "D", "num_heads"),
        same("layers.1.scale", "norm.weight", VALUES),
        same("layers.1.W_o", "out_proj.weight", f"input_size {VALUES}"),
    ),
    remedy="pass the state_dict of one Mamba2Mixer, with prefixes such as "
    "'backbone.layers.0.mixer.' cut off the names, and its config's n_groups.",
    static={"num_groups": "layers.1.num_groups"},
    groups={"num_groups": "num_heads"},
)


def from_mamba2(state_dict: Mapping[str, Any], num_groups: int, *, eps: float = 1e-5) -> Stack:
    """The block that computes what a Mamba-2 mixer computes.

    Args:
        state_dict: arrays by the module's names.
        num_groups: the config's `n_groups` (`ngroups` in state-spaces), which the arrays do
            not tell.
        eps: the config's `layer_norm_epsilon`.

    Raises:
        ValueError: where names or shapes do not fit.
    """
    return TABLE.to_ours(state_dict, {"num_groups": num_groups}, eps=eps)


def to_mamba2(block: Stack) -> Weights:
    """The inverse of `from_mamba2`, for a block of `mamba2_block`.

    Raises:
        ValueError: for another layer.
    """
    check_layers(block, "seqmem.blocks.mamba2_block", ShortConv, Mamba2Core)
    return TABLE.to_theirs(block)
