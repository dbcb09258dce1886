"""flash-linear-attention's layers of preconditioned delta rules: `PrecondGatedDeltaNet` and
`PrecondKDA` at commit bc3b101, as they are made by default, with a gate, as many heads of values as
of keys, and short convolutions that have no bias. Their squash_x is taken to be 1.5.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ..blocks.preconditioned import KeyCurvature
from ..blocks.preconditioned_gated_delta_net import (
    PreconditionedGatedDeltaCore,
    preconditioned_gated_delta_net_block,
)
from ..blocks.preconditioned_kda import PreconditionedKDACore, preconditioned_kda_block
from ..blocks.short_conv import ShortConv
from ..layers.stack import Stack
from ._checks import check_layers, check_option
from ._short_conv import short_conv
from .fla_comba import KEYS, MIXED, VALUES
from .weight_table import Row, Weights, WeightTable, at, same


def _table(
    make: Callable[..., Stack], module: str, curvature: str, bypass: dict[str, str], *rows: Row
) -> WeightTable:
    """The table of one of the two.

    Args:
        make: makes the block.
        module: its name there.
        curvature: the projection there that makes the decay of A.
        bypass: their projections after those of A, with their rows.
        rows: the rows of the core.
    """
    heads = {"b_atk_proj": "num_heads", curvature: "num_heads"}
    return WeightTable(
        make=make,
        arguments=("input_size", "num_heads", "key_size", "width", f"hidden_size={VALUES}"),
        rows=(
            Row(
                {"layers.0.W": f"2*{KEYS}+{VALUES} input_size"},
                {f"{name}_proj.weight": f"{size} input_size" for name, size in MIXED.items()},
            ),
            Row(
                {"layers.0.U": f"{'+'.join((heads | bypass).values())} input_size"},
                {f"{name}.weight": f"{size} input_size" for name, size in (heads | bypass).items()},
            ),
            short_conv(
                "layers.0.conv.w",
                {f"{name}_conv1d.weight": f"{size} 1 width" for name, size in MIXED.items()},
            ),
            same("layers.1.A_log", "A_log_atk", "num_heads"),
            same("layers.1.dt_bias", "dt_bias_atk", "num_heads"),
            same("layers.1.center", "log_atk_scale", "num_heads"),
            same("layers.2.A_log", "A_log", "num_heads"),
            same("layers.2.scale", "o_norm.weight", "value_size"),
            same("layers.2.W_o", "o_proj.weight", f"input_size {VALUES}"),
            *rows,
        ),
        remedy=f"pass the state_dict of one {module}, made with a gate and short convolutions, "
        "with prefixes such as 'model.layers.0.attn.' cut off the names.",
    )


GATED_DELTA_NET = _table(
    preconditioned_gated_delta_net_block,
    "PrecondGatedDeltaNet",
    "a_atk_proj",
    {"g_proj": VALUES, "b_proj": "num_heads", "a_proj": "num_heads"},
    same("layers.2.dt_bias", "dt_bias", "num_heads"),
)
KDA = _table(
    preconditioned_kda_block,
    "PrecondKDA",
    "a_proj",
    {"f_proj.0": "value_size", "g_proj.0": "value_size", "b_proj": "num_heads"},
    same("layers.2.dt_bias", "dt_bias", KEYS),
    same("layers.2.W_f", "f_proj.1.weight", f"{KEYS} value_size"),
    same("layers.2.W_g", "g_proj.1.weight", f"{VALUES} value_size"),
    same("layers.2.b_g", "g_proj.1.bias", VALUES),
)


def from_fla_preconditioned_gated_delta_net(
    state_dict: Mapping[str, Any], *, beta_max: float = 1.0, eps: float = 1e-5
) -> Stack:
    """The block that computes what fla's `PrecondGatedDeltaNet` computes.

    Args:
        state_dict: arrays by the module's names.
        beta_max: 2 for a module with `allow_neg_eigval`.
        eps: the module's `norm_eps`.

    Raises:
        ValueError: where names or shapes do not fit.
    """
    return GATED_DELTA_NET.to_ours(state_dict, beta_max=beta_max, eps=eps)


def to_fla_preconditioned_gated_delta_net(block: Stack) -> Weights:
    """The inverse of `from_fla_preconditioned_gated_delta_net`, for a block of
    `preconditioned_gated_delta_net_block`.

    Raises:
        ValueError: for another layer, or a `beta_max` that is neither 1 nor 2.
    """
    maker = "seqmem.blocks.preconditioned_gated_delta_net_block"
    check_layers(block, maker, ShortConv, KeyCurvature, PreconditionedGatedDeltaCore)
    check_option("beta_max", at(block, "layers.2.beta_max"), (1, 2))
    return GATED_DELTA_NET.to_theirs(block)


def from_fla_preconditioned_kda(
    state_dict: Mapping[str, Any], *, beta_max: float = 1.0, eps: float = 1e-5
) -> Stack:
    """The block that computes what fla's `PrecondKDA` computes.

    Args:
        state_dict: arrays by the module's names.
        beta_max: 2 for a module with `allow_neg_eigval`.
        eps: the module's `norm_eps`.

    Raises:
        ValueError: where names or shapes do not fit.
    """
    return KDA.to_ours(state_dict, beta_max=beta_max, eps=eps)


def to_fla_preconditioned_kda(block: Stack) -> Weights:
    """The inverse of `from_fla_preconditioned_kda`, for a block of `preconditioned_kda_block`.

    Raises:
        ValueError: for another layer, or a `beta_max` that is neither 1 nor 2.
    """
    maker = "seqmem.blocks.preconditioned_kda_block"
    check_layers(block, maker, ShortConv, KeyCurvature, PreconditionedKDACore)
    check_option("beta_max", at(block, "layers.2.beta_max"), (1, 2))
    return KDA.to_theirs(block)
