"""Weights from and to other libraries."""

from .mamba import from_mamba as from_mamba, to_mamba as to_mamba
from .pytorch import from_torch as from_torch, to_torch as to_torch
from .s5 import from_s5 as from_s5, to_s5 as to_s5
