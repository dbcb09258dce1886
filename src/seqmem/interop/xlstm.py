"""The mLSTM layer of xLSTM 7B: `xLSTMLayer` of Hugging Face transformers 5.24.0, with
`weight_mode="single"`.
"""

from collections.abc import Mapping
from typing import Any

from ..blocks.xlstm import MLSTMCore, xlstm_block
from ..layers.stack import Stack
from ._checks import check_layers
from .weight_table import Weights, WeightTable, same

TABLE = WeightTable(
    make=xlstm_block,
    arguments=("input_size", "hidden_size=num_heads*value_size", "num_heads", "key_size"),
    rows=(
        same("layers.0.W_q", "q.weight", "num_heads*key_size input_size"),
        same("layers.0.W_k", "k.weight", "num_heads*key_size input_size"),
        same("layers.0.W_v", "v.weight", "num_heads*value_size input_size"),
        same("layers.0.W_g", "ogate_preact.weight", "num_heads*value_size input_size"),
        same("layers.0.W_i", "igate_preact.weight", "num_heads input_size"),
        same("layers.0.b_i", "igate_preact.bias", "num_heads"),
        same("layers.0.W_f", "fgate_preact.weight", "num_heads input_size"),
        same("layers.0.b_f", "fgate_preact.bias", "num_heads"),
        same("layers.0.scale", "multihead_norm.weight", "num_heads*value_size"),
        same("layers.0.W_o", "out_proj.weight", "input_size num_heads*value_size"),
    ),
    remedy="pass the state_dict of one xLSTMLayer without biases, with prefixes such as "
    "'backbone.blocks.0.mlstm_layer.' cut off the names.",
)


def from_xlstm(
    state_dict: Mapping[str, Any],
    *,
    cap: float = 15.0,
    eps: float = 1e-6,
    norm_eps: float | None = None,
) -> Stack:
    """The block that computes what an `xLSTMLayer` computes.

    Args:
        state_dict: arrays by the module's names.
        cap: the config's `gate_soft_cap`.
        eps: the config's `eps`.
        norm_eps: the config's `norm_eps`; None is `eps`.

    Raises:
        ValueError: where names or shapes do not fit.
    """
    return TABLE.to_ours(state_dict, cap=cap, eps=eps, norm_eps=norm_eps)


def to_xlstm(block: Stack) -> Weights:
    """The inverse of `from_xlstm`, for a block of `xlstm_block`.

    Raises:
        ValueError: for another layer.
    """
    check_layers(block, "seqmem.blocks.xlstm_block", MLSTMCore)
    return TABLE.to_theirs(block)
