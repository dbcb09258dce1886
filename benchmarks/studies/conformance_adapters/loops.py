"""A cell under `jax.lax.scan`, as the documentation of Equinox runs one."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from seqmem.testing import ScanOp

INPUT, HIDDEN = 3, 5
Step = Callable[[Any, Any, Any], tuple[Any, Any]]


def zeros(*sizes: int) -> np.ndarray:
    return np.zeros(sizes, np.float32)


def scan_op(function: Callable[..., Any], params: Any, state: Any, **fields: Any) -> ScanOp:
    """A `ScanOp` of inputs of `INPUT` features in float32; `fields` are its others."""
    return ScanOp(function, params, state, **{"x": zeros(INPUT)} | fields)


def scanned(step: Step) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
    """`(params, state, xs) -> (ys, state)`, for `step(params, state, x) -> (y, state)` of one
    sequence.
    """

    def run(params: Any, state: Any, xs: Any) -> tuple[Any, Any]:
        def body(state: Any, x: Any) -> tuple[Any, Any]:
            y, state = jax.vmap(lambda state, x: step(params, state, x))(state, x)
            return state, y

        state, ys = jax.lax.scan(body, state, xs)
        return ys, state

    return run
