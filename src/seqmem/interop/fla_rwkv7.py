"""flash-linear-attention's RWKV-7 layer: `RWKV7Attention` at commit bc3b101, whose v_lora is in all
layers of a model but the first.
"""

from collections.abc import Mapping
from typing import Any

from ..blocks.rwkv7 import rwkv7_block
from ..blocks.rwkv7_cores import RWKV7Core, RWKV7UpperCore
from ..blocks.token_shift import Mixed, TokenShift, TokenShiftWithValues
from ..layers.stack import Stack
from ._checks import check_layers
from .weight_table import Row, Weights, WeightTable, same

SIZE = "num_heads*key_size"


def _low_rank(path: str, name: str, *, bias: bool) -> list[Row]:
    rows = [
        same(f"{path}.V", f"{name}_lora.lora.0.weight", f"{name}_rank {SIZE}"),
        same(f"{path}.W", f"{name}_lora.lora.2.weight", f"{SIZE} {name}_rank"),
    ]
    return [*rows, same(f"{path}.b", f"{name}_lora.lora.2.bias", SIZE)] if bias else rows


def _table(shift: str, core: str, *upper: Row) -> WeightTable:
    matrices = {f"W_{name}": f"{name}_proj.weight" for name in "rkvo"}
    vectors = {"xi": "k_k", "alpha": "k_a", "scale": "g_norm.weight", "shift": "g_norm.bias"}
    return WeightTable(
        make=rwkv7_block,
        arguments=(f"input_size={SIZE}", "num_heads"),
        rows=(
            Row({f"{shift}.mu": f"6 {SIZE}"}, {f"x_{use}": f"1 1 {SIZE}" for use in Mixed._fields}),
            Row({f"{core}.rho": SIZE}, {"r_k": "num_heads key_size"}),
            *(same(f"{core}.{path}", name, f"{SIZE} {SIZE}") for path, name in matrices.items()),
            *(same(f"{core}.{path}", name, SIZE) for path, name in vectors.items()),
            *_low_rank(f"{core}.w", "w", bias=True),
            *_low_rank(f"{core}.a", "a", bias=True),
            *_low_rank(f"{core}.g", "g", bias=False),
            *upper,
        ),
        remedy="pass the state_dict of one RWKV7Attention, whose values are as many as its keys, "
        "with prefixes such as 'model.layers.0.attn.' cut off the names.",
        static={"num_heads": f"{core}.num_heads"},
    )


FIRST = _table("layers.0", "layers.1")
UPPER = _table("layers.0.shift", "layers.1.core", *_low_rank("layers.1.nu", "v", bias=True))


def from_fla_rwkv7(state_dict: Mapping[str, Any], *, eps: float | None = None) -> Stack:
    """The block that computes what fla's `RWKV7Attention` computes.

    It is that of the first layer of a model for names without v_lora, and that of an upper layer
    (`seqmem.blocks.rwkv7_block(first_layer=False)`) for names with it.

    Args:
        state_dict: arrays by the module's names.
        eps: the module's `norm_eps` times its `head_dim`; None is 10⁻⁵ times it, as by default.

    Raises:
        ValueError: where names or shapes do not fit.
    """
    is_upper = any("v_lora" in name for name in state_dict)
    return (UPPER if is_upper else FIRST).to_ours(state_dict, eps=eps, first_layer=not is_upper)


def to_fla_rwkv7(block: Stack) -> Weights:
    """The inverse of `from_fla_rwkv7`, for a block of `rwkv7_block`.

    Raises:
        ValueError: for another layer.
    """
    is_upper = isinstance(block, Stack) and isinstance(block.layers[-1], RWKV7UpperCore)
    layers = (TokenShiftWithValues, RWKV7UpperCore) if is_upper else (TokenShift, RWKV7Core)
    check_layers(block, "seqmem.blocks.rwkv7_block", *layers)
    return (UPPER if is_upper else FIRST).to_theirs(block)
