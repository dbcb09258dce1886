"""flash-linear-attention's MesaNet layer: `MesaNet` at commit bc3b101, as it is made by default,
without an output gate, and with short convolutions that have no bias.
"""

from collections.abc import Mapping
from typing import Any

from .._cells.fast_weights.solvers import AbstractSolver, ConjugateGradients
from ..blocks.mesa_net import MesaCore, mesa_net_block
from ..blocks.short_conv import ShortConv
from ..layers.stack import Stack
from ._checks import check_layers, check_option
from ._short_conv import short_conv
from .weight_table import Row, Weights, WeightTable, at, same

KEYS, HIDDEN = "num_heads*key_size", "num_heads*key_size"  # the module's values are as large
OTHERS = {"v": HIDDEN, "a": "num_heads", "b": "num_heads"}

TABLE = WeightTable(
    make=mesa_net_block,
    arguments=("input_size", f"hidden_size={HIDDEN}", "num_heads", "key_size", "width"),
    rows=(
        Row(
            {"layers.0.W": f"2*{KEYS} input_size"},
            {f"{name}_proj.weight": f"{KEYS} input_size" for name in "qk"},
        ),
        Row(
            {"layers.0.U": f"{HIDDEN}+2*num_heads input_size"},
            {f"{name}_proj.weight": f"{rows} input_size" for name, rows in OTHERS.items()},
        ),
        short_conv(
            "layers.0.conv.w", {f"{name}_conv1d.weight": f"{KEYS} 1 width" for name in "qk"}
        ),
        same("layers.1.b_gamma", "a_proj.bias", "num_heads"),
        same("layers.1.b_beta", "b_proj.bias", "num_heads"),
        same("layers.1.ridge", "lambda_params", KEYS),
        same("layers.1.scale", "o_norm.weight", "key_size"),
        same("layers.1.W_o", "o_proj.weight", f"input_size {HIDDEN}"),
    ),
    remedy="pass the state_dict of one MesaNet, made without an output gate and with short "
    "convolutions, with prefixes such as 'model.layers.0.attn.' cut off the names.",
)


def from_fla_mesa_net(
    state_dict: Mapping[str, Any],
    *,
    solver: AbstractSolver = ConjugateGradients(30),
    eps: float = 1e-5,
) -> Stack:
    """The block that computes what fla's `MesaNet` computes.

    Args:
        state_dict: arrays by the module's names.
        solver: `seqmem.ConjugateGradients` of as many steps as the module's `max_cg_step_training`.
        eps: the module's `norm_eps`. Its `lambda_lower_bound` is taken to be 0.25.

    Raises:
        ValueError: where names or shapes do not fit.
    """
    return TABLE.to_ours(state_dict, solver=solver, eps=eps)


def to_fla_mesa_net(block: Stack) -> Weights:
    """The inverse of `from_fla_mesa_net`, for a block of `mesa_net_block`.

    Raises:
        ValueError: for another layer, or keys and values of different sizes.
    """
    check_layers(block, "seqmem.blocks.mesa_net_block", ShortConv, MesaCore)
    value_size = len(at(block, "layers.1.scale"))
    key_size = len(at(block, "layers.1.ridge")) // len(at(block, "layers.1.b_gamma"))
    check_option("key_size", key_size, (value_size,))
    return TABLE.to_theirs(block)
