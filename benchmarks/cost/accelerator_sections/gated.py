"""LSTM and GRU, forward and with backward: seqmem, a plain scan, cuDNN by PyTorch and by JAX."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import seqmem

from ...common.records import Row
from ...common.timing import time_queued
from ..peers import Sizes, gradient_of_squares, seqmem_forward, torch_calls, wait_for_torch
from .section import Build, CannotRunError, Case, Section, with_precision

CELLS = ("LSTM", "GRU")
SHAPES = tuple(  # the inputs are as wide as the state
    Sizes(time, batch, hidden, hidden)
    for time, batch, hidden in ((1024, 16, 768), (128, 64, 512), (1024, 64, 256), (1000, 1, 64))
)
SMOKE_SHAPES = (Sizes(11, 3, 5, 5),)
CPU_SCHEDULE, REFERENCE = "seqmem, scheduled for a CPU", "seqmem ReferenceScan"
# The dtype of parameters and inputs, and how JAX multiplies float32.
PRECISIONS: dict[str, tuple[Any, str | None]] = {
    "float32": (jnp.float32, "highest"),
    "TF32": (jnp.float32, "tensorfloat32"),
    "bfloat16": (jnp.bfloat16, None),
}


def measure(section: Section) -> None:
    for sizes in SMOKE_SHAPES if section.smoke else SHAPES:
        section.measure([case for cell in CELLS for case in cases(cell, sizes)])
        for cell in CELLS:
            for precision in PRECISIONS:
                measure_torch(section, cell, sizes, precision)


def cases(cell: str, sizes: Sizes) -> Iterator[Case]:
    """The programs of JAX."""
    for precision in PRECISIONS:
        yield from seqmem_cases(cell, sizes, precision)
    for way in (CPU_SCHEDULE, REFERENCE):
        yield from seqmem_cases(cell, sizes, "float32", way)
    if cell == "LSTM":
        for precision in ("float32", "TF32"):
            for part in ("forward", "gradient"):
                labels = row_labels(cell, sizes, "jax.experimental.rnn", precision, part)
                yield Case(labels, cudnn_build(sizes, precision, part))


def row_labels(cell: str, sizes: Sizes, library: str, precision: str, part: str) -> Row:
    return {
        "cell": cell,
        "sizes": list(sizes),
        "library": library,
        "precision": precision,
        "part": part,
    }


def seqmem_cases(cell: str, sizes: Sizes, precision: str, way: str = "seqmem") -> Iterator[Case]:
    forward = seqmem_forward(seqmem.ReferenceScan() if way == REFERENCE else None)
    for part in ("forward", "gradient"):

        def build(part: str = part) -> Any:
            check_precision(precision)
            dtype, products = PRECISIONS[precision]
            args = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), cell_and_inputs(cell, sizes))
            function = part_of(forward, part)
            if way == CPU_SCHEDULE:
                function = traced_for_cpu(function)
            return with_precision(function, products), args

        yield Case(row_labels(cell, sizes, way, precision, part), build)


def traced_for_cpu(function: Callable[..., Any]) -> Callable[..., Any]:
    def traced(*args: Any) -> Any:
        with seqmem.target_platform("cpu"):
            return function(*args)

    return traced


def cell_and_inputs(cell: str, sizes: Sizes) -> tuple[seqmem.AbstractCell, np.ndarray]:
    made = getattr(seqmem, cell)(sizes.input, sizes.hidden, key=jax.random.key(0))
    return made, random_inputs(sizes)


def random_inputs(sizes: Sizes) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(sizes[:3], np.float32)


def part_of(forward: Callable[[Any, Any], Any], part: str) -> Callable[[Any, Any], Any]:
    return forward if part == "forward" else gradient_of_squares(forward)


def check_precision(precision: str) -> None:
    platform = jax.devices()[0].platform
    if precision == "TF32" and platform != "gpu":
        raise CannotRunError(f"TF32 is a precision of NVIDIA's GPUs, and this is a {platform}")


def cudnn_build(sizes: Sizes, precision: str, part: str) -> Build:
    def build() -> Any:
        platform = jax.devices()[0].platform
        if platform != "gpu":
            raise CannotRunError(f"jax.experimental.rnn is cuDNN's, and this is a {platform}")
        from jax.experimental import rnn

        forward = cudnn_lstm(rnn.lstm, None if precision == "TF32" else jax.lax.Precision.HIGHEST)
        args = jax.tree.map(jnp.asarray, cell_and_inputs("LSTM", sizes))
        return part_of(forward, part), args

    return build


def cudnn_lstm(lstm: Callable[..., Any], precision: Any) -> Callable[[Any, Any], Any]:
    """seqmem's LSTM by the function of jax.experimental.rnn, whose gates come in the same order."""

    def forward(cell: seqmem.LSTM, xs: jax.Array) -> jax.Array:
        time, batch, size = xs.shape
        hidden = cell.U.shape[-1]
        arrays = (cell.W, cell.U, cell.b, jnp.zeros_like(cell.b))  # cuDNN has two biases per gate
        weights = jnp.concatenate([array.ravel() for array in arrays])
        zeros = jnp.zeros((1, batch, hidden), xs.dtype)
        lengths = jnp.full(batch, time, jnp.int32)
        sizes = (size, hidden, 1, 0.0, False)  # one layer, no dropout, one direction
        ys, _, _ = lstm(xs.swapaxes(0, 1), zeros, zeros, weights, lengths, *sizes, precision)
        return ys.swapaxes(0, 1)

    return forward


def measure_torch(section: Section, cell: str, sizes: Sizes, precision: str) -> None:
    def calls() -> Any:
        check_precision(precision)
        import torch

        torch.backends.cudnn.allow_tf32 = precision == "TF32"
        torch.backends.cuda.matmul.allow_tf32 = precision == "TF32"
        dtype = "bfloat16" if precision == "bfloat16" else "float32"
        return torch_calls(cell, sizes, random_inputs(sizes), dtype)

    for part in ("forward", "gradient"):
        section.attempt(
            row_labels(cell, sizes, "torch", precision, part),
            lambda part=part: time_queued(getattr(calls(), part), wait_for_torch),
        )
