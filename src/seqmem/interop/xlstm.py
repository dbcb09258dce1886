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
    arguments={
        "input_size": "input",
        "hidden_size": "values",
        "num_heads": "heads",
        "key_size": "key",
    },
    rows=(
        same("layers.0.W_q", "q.weight", "heads*key input"),
        same("layers.0.W_k", "k.weight", "heads*key input"),
        same("layers.0.W_v", "v.weight", "values input"),
        same("layers.0.W_g", "ogate_preact.weight", "values input"),
        same("layers.0.W_i", "igate_preact.weight", "heads input"),
        same("layers.0.b_i", "igate_preact.bias", "heads"),
        same("layers.0.W_f", "fgate_preact.weight", "heads input"),
        same("layers.0.b_f", "fgate_preact.bias", "heads"),
        same("layers.0.scale", "multihead_norm.weight", "values"),
        same("layers.0.W_o", "out_proj.weight", "input values"),
    ),
    remedy="pass the state_dict of one xLSTMLayer without biases, with prefixes such as "
    "'backbone.blocks.0.mlstm_layer.' cut off the names.",
)


def from_xlstm(state_dict: Mapping[str, Any], *, cap: float = 15.0, eps: float = 1e-6) -> Stack:
    """The block that computes what an `xLSTMLayer` computes.

    Args:
        state_dict: arrays by the module's names.
        cap: the config's `gate_soft_cap`.
        eps: the config's `eps` and `norm_eps`, which are one number here.

    Raises:
        ValueError: where names or shapes do not fit.

    Example:
        >>> import jax, seqmem
        >>> from seqmem.interop import from_xlstm, to_xlstm
        >>> sizes = {"num_heads": 2, "key_size": 3}
        >>> block = seqmem.blocks.xlstm_block(10, 14, **sizes, key=jax.random.key(0))
        >>> from_xlstm(to_xlstm(block)).init_state()[0].matrix.shape
        (2, 8, 3)
    """

    return TABLE.to_ours(state_dict, cap=cap, eps=eps)


def to_xlstm(block: Stack) -> Weights:
    """The parameters of a block by the names that an `xLSTMLayer` has for them.

    Args:
        block: made by `seqmem.blocks.xlstm_block`.

    Raises:
        ValueError: for another layer.
    """
    check_layers(block, "seqmem.blocks.xlstm_block", MLSTMCore)
    return TABLE.to_theirs(block)
