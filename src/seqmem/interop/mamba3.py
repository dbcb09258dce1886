"""The block of Mamba-3: `Mamba3` of state-spaces/mamba at commit 7438488.

    in_proj.weight = [W_z; W_v; W_B; W_C; W_Δ; W_A; W_λ; W_θ]

With `is_mimo` its kernels rotate channels n and n + N/2 of N, where ours are neighbours, so the
channels of B and C are exchanged.
"""

import math
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import numpy as np

from .._cells.fast_weights.mamba3_steps import Mamba3Rotation, Mamba3Steps
from .._core.errors import bad_input
from ..blocks.mamba3 import Mamba3Core, mamba3_block
from ..layers.stack import Stack
from ._checks import check_layers, check_option
from .weight_table import Row, Weights, WeightTable, same

VALUES = "num_heads*value_size"
PER_RANK = "num_heads rank value_size"
FRACTIONS = (0.5, 1.0)  # of the channels that the module may rotate

ROWS = (
    Row(
        {
            "layers.2.W_z": f"{VALUES} input_size",
            "layers.1.W_v": f"{VALUES} input_size",
            "layers.1.W_BC": "2 rank num_groups key_size input_size",
            "layers.0.W_delta": "num_heads input_size",
            "layers.1.W_A": "num_heads input_size",
            "layers.1.W_lambda": "num_heads input_size",
            "layers.0.W_theta": "num_angles input_size",
        },
        {
            "in_proj.weight": f"2*{VALUES}+2*rank*num_groups*key_size+3*num_heads+num_angles "
            "input_size"
        },
        to_theirs=lambda *arrays: np.concatenate([array.ravel() for array in arrays]),
    ),
    same("layers.0.b", "dt_bias", "num_heads"),
    Row(
        {"layers.1.scale": "2 key_size"},
        {"B_norm.weight": "key_size", "C_norm.weight": "key_size"},
    ),
    Row(
        {"layers.1.bias": "2 num_heads rank key_size"},
        {"B_bias": "num_heads rank key_size", "C_bias": "num_heads rank key_size"},
    ),
    same("layers.2.memory.D", "D", "num_heads"),
    same("layers.2.W_o", "out_proj.weight", f"input_size {VALUES}"),
)
SEVERAL_RANKS = (
    same("layers.1.up", "mimo_x", PER_RANK),
    same("layers.2.gate", "mimo_z", PER_RANK),
    same("layers.2.memory.down", "mimo_o", PER_RANK),
)


def _table(rows: tuple[Row, ...]) -> WeightTable:
    sizes = ("input_size", "num_heads", "key_size", "num_groups", "rank", "num_angles")
    return WeightTable(
        make=mamba3_block,
        arguments=(*sizes, f"hidden_size={VALUES}"),
        rows=rows,
        remedy="pass the state_dict of one Mamba3 without is_outproj_norm, with prefixes such as "
        "'backbone.layers.0.mixer.' cut off the names, and its ngroups and rope_fraction.",
        groups={"num_groups": "num_heads"},
    )


SISO, MIMO = _table(ROWS), _table((*ROWS, *SEVERAL_RANKS))


def from_mamba3(
    state_dict: Mapping[str, Any],
    num_groups: int,
    *,
    rope_fraction: float = 0.5,
    eps: float = 1e-5,
) -> Stack:
    """The block that computes what a Mamba-3 module computes.

    Weights that were trained with the module of June 2026 and later, from commit c69aaab on, do not
    fit: it makes the rate of decay of another function.

    Args:
        state_dict: arrays by the module's names.
        num_groups: the module's `ngroups`, which the arrays do not tell.
        rope_fraction: the module's, the part of the channels that rotate, ½ or 1.
        eps: ε of its norms.

    Raises:
        ValueError: where names or shapes do not fit, or for another `rope_fraction`.
    """
    check_option("rope_fraction", rope_fraction, FRACTIONS)
    key_size = math.prod(np.shape(state_dict.get("B_norm.weight", ())))
    known = {"num_groups": num_groups, "num_angles": int(rope_fraction * key_size) // 2}
    has_ranks = "mimo_x" in state_dict
    block = (MIMO if has_ranks else SISO).to_ours(state_dict, known, eps=eps)
    return _with_channels(block, lambda neighbours: neighbours) if has_ranks else block


def to_mamba3(block: Stack) -> Weights:
    """The inverse of `from_mamba3`, for a block of `mamba3_block`.

    Raises:
        ValueError: for another layer, for rotations of neither half nor all of the channels, or
            with several ranks for an odd key size.
    """
    check_layers(block, "seqmem.blocks.mamba3_block", Mamba3Rotation, Mamba3Steps, Mamba3Core)
    num_angles, key_size = len(block.layers[0].W_theta), block.layers[1].scale.shape[1]
    check_option("num_angles", num_angles, tuple(int(f * key_size) // 2 for f in FRACTIONS))
    if block.layers[1].up is None:
        return SISO.to_theirs(block)
    return MIMO.to_theirs(_with_channels(block, np.argsort))


def _with_channels(block: Stack, order_of: Any) -> Stack:
    """The block with the channels of B and C in another order, made from the one in which n and
    n + N/2 are neighbours.
    """

    def leaves(block: Stack) -> list:
        return [getattr(block.layers[1], name) for name in ("scale", "bias", "W_BC")]

    scale, bias, W_BC = leaves(block)
    size = scale.shape[1]
    if size % 2:
        raise bad_input(
            f"a block with key_size={size} and several ranks.",
            "an even key_size, since the module rotates halves of it.",
            "make the block with another key_size, or do not export it.",
        )
    order = order_of(np.arange(size).reshape(2, -1).T.ravel())
    changed = [scale[..., order], bias[..., order], W_BC[..., order, :]]
    return eqx.tree_at(leaves, block, changed)
