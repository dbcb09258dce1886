"""Weights from and to other libraries."""

from .pytorch import from_torch as from_torch, to_torch as to_torch
