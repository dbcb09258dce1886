"""Weights from and to other libraries."""

from .export import register_for_export as register_for_export
from .fla_gated_delta_net import (
    from_fla_gated_delta_net as from_fla_gated_delta_net,
    to_fla_gated_delta_net as to_fla_gated_delta_net,
)
from .fla_gla import from_fla_gla as from_fla_gla, to_fla_gla as to_fla_gla
from .fla_rwkv7 import from_fla_rwkv7 as from_fla_rwkv7, to_fla_rwkv7 as to_fla_rwkv7
from .mamba import from_mamba as from_mamba, to_mamba as to_mamba
from .mamba2 import from_mamba2 as from_mamba2, to_mamba2 as to_mamba2
from .pytorch import from_torch as from_torch, to_torch as to_torch
from .qwen3_next import from_qwen3_next as from_qwen3_next, to_qwen3_next as to_qwen3_next
from .s5 import from_s5 as from_s5, to_s5 as to_s5
from .xlstm import from_xlstm as from_xlstm, to_xlstm as to_xlstm
