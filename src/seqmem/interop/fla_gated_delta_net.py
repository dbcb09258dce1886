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

KEYS, VALUES = "num_key_heads*key", "heads*value"

ARGUMENTS = {
    "input_size": "input",
    "hidden_size": VALUES,
    "num_heads": "heads",
    "key_size": "key",
    "num_key_heads": "num_key_heads",
    "width": "width",
}
TABLE = WeightTable(
    make=gated_delta_net_block,
    arguments=ARGUMENTS,
    rows=(
        Row(
            {"layers.0.W": f"2*{KEYS}+{VALUES} input"},
            {
                "q_proj.weight": f"{KEYS} input",
                "k_proj.weight": f"{KEYS} input",
                "v_proj.weight": f"{VALUES} input",
            },
        ),
        Row(
            {"layers.0.U": f"{VALUES}+2*heads input"},
            {
                "g_proj.weight": f"{VALUES} input",
                "b_proj.weight": "heads input",
                "a_proj.weight": "heads input",
            },
        ),
        short_conv(
            "layers.0.conv.w",
            {
                "q_conv1d.weight": f"{KEYS} 1 width",
                "k_conv1d.weight": f"{KEYS} 1 width",
                "v_conv1d.weight": f"{VALUES} 1 width",
            },
        ),
        same("layers.1.A_log", "A_log", "heads"),
        same("layers.1.dt_bias", "dt_bias", "heads"),
        same("layers.1.scale", "o_norm.weight", "value"),
        same("layers.1.W_o", "o_proj.weight", f"input {VALUES}"),
    ),
    remedy="pass the state_dict of one GatedDeltaNet, made with a gate and short convolutions, "
    "with prefixes such as 'model.layers.0.attn.' cut off the names; and its num_heads, where "
    "num_v_heads differs.",
    static={"num_key_heads": "layers.1.num_key_heads"},
    groups={"num_key_heads": "heads"},
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

    Example:
        >>> import jax, seqmem
        >>> from seqmem.interop import from_fla_gated_delta_net, to_fla_gated_delta_net
        >>> sizes = {"num_heads": 3, "key_size": 2}
        >>> block = seqmem.blocks.gated_delta_net_block(7, 15, **sizes, key=jax.random.key(0))
        >>> weights = to_fla_gated_delta_net(block)
        >>> from_fla_gated_delta_net(weights).init_state()[1].matrix.shape
        (3, 1, 5, 2)
    """

    return TABLE.to_ours(state_dict, {"num_key_heads": num_key_heads}, beta_max=beta_max, eps=eps)


def to_fla_gated_delta_net(block: Stack) -> Weights:
    """The parameters of a block by the names that fla's `GatedDeltaNet` has for them.

    Args:
        block: made by `seqmem.blocks.gated_delta_net_block`, with a `beta_max` of 1, or of 2 for a
            module with `allow_neg_eigval`.

    Raises:
        ValueError: for another layer, or another `beta_max`.
    """
    check_layers(block, "seqmem.blocks.gated_delta_net_block", ShortConv, GatedDeltaCore)
    check_option("beta_max", at(block, "layers.1.beta_max"), (1, 2))
    return TABLE.to_theirs(block)
