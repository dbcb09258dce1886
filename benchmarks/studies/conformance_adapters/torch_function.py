"""A kernel of PyTorch as a function of NumPy arrays, with its gradients."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import torch

from seqmem.testing import NumpyFunction


def numpy_function(kernel: Callable[..., Any]) -> NumpyFunction:
    """`kernel(**tensors)` returns `(o, state)`, where a state may be a tuple, or `o` alone."""

    def forward(**arrays: Any) -> Any:
        with torch.no_grad():
            return jax.tree.map(lambda y: y.numpy(), kernel(**jax.tree.map(_tensor, arrays)))

    def vjp(arrays: Any, cotangents: Any) -> Any:
        tensors = jax.tree.map(lambda x: _tensor(x).requires_grad_(), arrays)
        results = jax.tree.leaves(kernel(**tensors))
        pairs = zip(results, map(_tensor, jax.tree.leaves(cotangents)), strict=True)
        used = [(y, d) for y, d in pairs if y.requires_grad]
        torch.autograd.backward([y for y, _ in used], [d for _, d in used])
        return jax.tree.map(_gradient, tensors)

    return NumpyFunction(forward, vjp)


def _tensor(x: Any) -> torch.Tensor:
    return torch.tensor(np.asarray(x))


def _gradient(x: torch.Tensor) -> np.ndarray:
    """0 where nothing depends on a tensor."""
    return (torch.zeros_like(x) if x.grad is None else x.grad).numpy()
