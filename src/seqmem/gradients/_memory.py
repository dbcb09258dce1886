"""The memory that a gradient takes, by XLA's analysis of the compiled program."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

from .._core.errors import bad_input
from .._core.precision import split_inexact

MEBIBYTE = 2**20


@dataclasses.dataclass(frozen=True)
class MemoryReport:
    """Bytes of a compiled gradient.

    Attributes:
        temporaries: the peak of everything but arguments and results: saved activations, carries
            of loops, intermediate values.
        arguments: the arguments.
        results: the value and the gradient.
    """

    temporaries: int
    arguments: int
    results: int

    def __str__(self) -> str:
        sizes = dataclasses.asdict(self).items()
        return ", ".join(f"{name} {size / MEBIBYTE:.1f} MiB" for name, size in sizes)


def memory_report(loss: Callable, model: Any, *args: Any) -> MemoryReport:
    """The memory that `jax.value_and_grad(loss)(model, *args)` takes, without running it.

    The program is compiled for the default device and analysed by XLA.

    Args:
        loss: (model, *args) -> a real number.
        model: its first argument; the loss is differentiated with respect to its inexact arrays.
        args: the others: trees of arrays or of `jax.ShapeDtypeStruct`.

    Raises:
        ValueError: where the platform has no such analysis.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.LSTM(32, 128, key=jax.random.key(0))
        >>> xs = jax.ShapeDtypeStruct((1024, 8, 32), "float32")
        >>> def temporaries(method):
        ...     def loss(cell, xs):
        ...         return (seqmem.unroll(cell, None, xs, method=method)[1] ** 2).sum()
        ...     return seqmem.gradients.memory_report(loss, cell, xs).temporaries
        >>> temporaries(seqmem.Scan(recompute=True)) < temporaries(seqmem.ReferenceScan()) / 2
        True
    """
    differentiable, constant = split_inexact(model)

    def call(differentiable: Any, *args: Any) -> Any:
        return loss(eqx.combine(differentiable, constant), *args)

    compiled = jax.jit(jax.value_and_grad(call)).lower(differentiable, *args).compile()
    analysis = compiled.memory_analysis()
    if analysis is None:
        raise bad_input(
            f"the compiler for the platform {jax.default_backend()} reports no memory.",
            "a platform with a memory analysis, such as cpu, gpu or tpu.",
            "run memory_report on another platform.",
        )
    return MemoryReport(
        analysis.temp_size_in_bytes,
        analysis.argument_size_in_bytes,
        analysis.output_size_in_bytes,
    )
