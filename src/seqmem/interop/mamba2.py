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
from ._named_shapes import Sizes
from ._short_conv import short_conv
from .weight_table import Row, Weights, WeightTable, same

MIXED = "values+2*num_groups*key"  # the rows of v, B and C


def _order(sizes: Sizes) -> np.ndarray:
    """The places of the rows of [v, B, C; z; a] in [z; v, B, C; a]."""
    values, mixed = sizes["values"], sizes["values"] + 2 * sizes["num_groups"] * sizes["key"]
    rows = np.arange(values + mixed + sizes["heads"])
    return np.concatenate([rows[values : values + mixed], rows[:values], rows[values + mixed :]])


TABLE = WeightTable(
    make=mamba2_block,
    arguments={
        "input_size": "input",
        "hidden_size": "values",
        "num_heads": "heads",
        "key_size": "key",
        "num_groups": "num_groups",
        "width": "width",
    },
    rows=(
        Row(
            {"layers.0.W": f"{MIXED} input", "layers.0.U": "values+heads input"},
            {"in_proj.weight": f"values+{MIXED}+heads input"},
            order=_order,
        ),
        short_conv("layers.0.conv.w", {"conv1d.weight": f"{MIXED} 1 width"}),
        same("layers.0.conv.b", "conv1d.bias", MIXED),
        same("layers.1.A_log", "A_log", "heads"),
        same("layers.1.dt_bias", "dt_bias", "heads"),
        same("layers.1.D", "D", "heads"),
        same("layers.1.scale", "norm.weight", "values"),
        same("layers.1.W_o", "out_proj.weight", "input values"),
    ),
    remedy="pass the state_dict of one Mamba2Mixer, with prefixes such as "
    "'backbone.layers.0.mixer.' cut off the names, and its config's n_groups.",
    static={"num_groups": "layers.1.num_groups"},
    groups={"num_groups": "heads"},
)


def from_mamba2(state_dict: Mapping[str, Any], num_groups: int, *, eps: float = 1e-5) -> Stack:
    """The block that computes what a Mamba-2 mixer computes.

    Args:
        state_dict: arrays by the module's names.
        num_groups: the config's `n_groups` (`ngroups` in state-spaces' own), which the arrays do
            not tell.
        eps: the config's `layer_norm_epsilon`.

    Raises:
        ValueError: where names or shapes do not fit.

    Example:
        >>> import jax, seqmem
        >>> from seqmem.interop import from_mamba2, to_mamba2
        >>> sizes = {"num_heads": 6, "key_size": 7, "num_groups": 2}
        >>> block = seqmem.blocks.mamba2_block(3, 30, **sizes, key=jax.random.key(0))
        >>> from_mamba2(to_mamba2(block), num_groups=2).init_state()[1].matrix.shape
        (2, 3, 5, 7)
    """

    return TABLE.to_ours(state_dict, {"num_groups": num_groups}, eps=eps)


def to_mamba2(block: Stack) -> Weights:
    """The parameters of a block by the names that a Mamba-2 mixer has for them.

    Args:
        block: made by `seqmem.blocks.mamba2_block`.

    Raises:
        ValueError: for another layer.
    """
    check_layers(block, "seqmem.blocks.mamba2_block", ShortConv, Mamba2Core)
    return TABLE.to_theirs(block)
