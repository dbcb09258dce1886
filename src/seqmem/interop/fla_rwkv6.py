"""flash-linear-attention's RWKV-6 layer: `RWKV6Attention` at commit bc3b101, as it is made by
default, with the swish gate.
"""

from collections.abc import Mapping
from typing import Any

from ..blocks.rwkv6 import RWKV6Core, rwkv6_block
from ..blocks.token_shift import DynamicTokenShift
from ..layers.stack import Stack
from ._checks import check_layers
from .weight_table import AnyArray, Row, Weights, WeightTable, same

KEYS, VALUES = "num_heads*key_size", "num_heads*value_size"
MATRICES = {"W_r": ("r", KEYS), "W_k": ("k", KEYS), "W_v": ("v", VALUES), "W_g": ("g", VALUES)}


def _by_use(weight: AnyArray) -> AnyArray:
    """[input, use · rank] as [use, input, rank]."""
    return weight.reshape(len(weight), 5, -1).swapaxes(0, 1)


def _by_input(weight: AnyArray) -> AnyArray:
    """The inverse of `_by_use`."""
    return weight.swapaxes(0, 1).reshape(weight.shape[1], -1)


TABLE = WeightTable(
    make=rwkv6_block,
    arguments=("input_size", f"hidden_size={VALUES}", "num_heads", "key_size", "mix_rank", "rank"),
    rows=(
        same("layers.0.mu", "x_proj.0.mu", "input_size"),
        Row(
            {"layers.0.V": "5 mix_rank input_size"},
            {"x_proj.0.linear.weight": "5*mix_rank input_size"},
        ),
        Row(
            {"layers.0.W": "5 input_size mix_rank"},
            {"x_proj.2.weight": "input_size 5*mix_rank"},
            to_ours=_by_use,
            to_theirs=_by_input,
        ),
        same("layers.0.mu_of_use", "x_bias", "5 input_size"),
        *(
            same(f"layers.1.{path}", f"{name}_proj.linear.weight", f"{rows} input_size")
            for path, (name, rows) in MATRICES.items()
        ),
        same("layers.1.V_w", "w_proj.linear.lora.0.weight", "rank input_size"),
        same("layers.1.W_w", "w_proj.linear.lora.2.weight", f"{KEYS} rank"),
        same("layers.1.w_0", "w_proj.linear.lora.2.bias", KEYS),
        same("layers.1.u", "bonus", "num_heads key_size"),
        same("layers.1.scale", "g_norm.weight", VALUES),
        same("layers.1.shift", "g_norm.bias", VALUES),
        same("layers.1.W_o", "o_proj.weight", f"input_size {VALUES}"),
    ),
    remedy="pass the state_dict of one RWKV6Attention, with prefixes such as "
    "'model.layers.0.attn.' cut off the names.",
)


def from_fla_rwkv6(state_dict: Mapping[str, Any], *, eps: float = 1e-5) -> Stack:
    """The block that computes what fla's `RWKV6Attention` computes.

    Args:
        state_dict: arrays by the module's names.
        eps: the module's `norm_eps`.

    Raises:
        ValueError: where names or shapes do not fit.
    """
    return TABLE.to_ours(state_dict, eps=eps)


def to_fla_rwkv6(block: Stack) -> Weights:
    """The inverse of `from_fla_rwkv6`, for a block of `rwkv6_block`.

    Raises:
        ValueError: for another layer.
    """
    check_layers(block, "seqmem.blocks.rwkv6_block", DynamicTokenShift, RWKV6Core)
    return TABLE.to_theirs(block)
