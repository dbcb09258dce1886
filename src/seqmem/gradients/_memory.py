"""How many bytes a gradient takes, by XLA's own analysis: it is compiled, never run."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

from .._core.errors import bad_input
from .._core.precision import split


@dataclasses.dataclass(frozen=True)
class MemoryReport:
    """Bytes of a compiled gradient.

    Attributes:
        temporaries: the most that is alive at any moment besides arguments and results: saved
            activations, buffers of loops, intermediate values.
        arguments: the arguments.
        results: the value and the gradient.
    """

    temporaries: int
    arguments: int
    results: int

    def __str__(self) -> str:
        mib = 2**20
        return (
            f"temporaries {self.temporaries / mib:.1f} MiB, arguments "
            f"{self.arguments / mib:.1f} MiB, results {self.results / mib:.1f} MiB"
        )


def memory_report(loss: Callable, model: Any, *args: Any) -> MemoryReport:
    """The bytes that `jax.value_and_grad(loss)(model, *args)` takes, before any run.

    The program is compiled for the default device and analysed by XLA.

    Args:
        loss: (model, *args) -> a real number.
        model: its first argument, which is differentiated.
        args: the others; arrays or `jax.ShapeDtypeStruct`.

    Raises:
        ValueError: where the platform has no such analysis.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.LSTM(32, 128, key=jax.random.key(0))
        >>> xs = jax.ShapeDtypeStruct((1024, 8, 32), "float32")
        >>> def loss(cell, xs, method):
        ...     return (seqmem.unroll(cell, None, xs, method=method)[1] ** 2).sum()
        >>> def temporaries(method):
        ...     of_method = lambda cell, xs: loss(cell, xs, method)
        ...     return seqmem.gradients.memory_report(of_method, cell, xs).temporaries
        >>> temporaries(seqmem.Scan(recompute=True)) < temporaries(seqmem.ReferenceScan()) / 2
        True
    """
    differentiable, constant = split(model)

    def call(differentiable: Any, *args: Any) -> Any:
        return loss(eqx.combine(differentiable, constant), *args)

    compiled = jax.jit(jax.value_and_grad(call)).lower(differentiable, *args).compile()
    analysis = compiled.memory_analysis()
    if analysis is None:
        raise bad_input(
            f"the platform {jax.default_backend()}, whose compiler reports no memory.",
            "a platform with a memory analysis, such as cpu, gpu or tpu.",
            "run memory_report on another platform.",
        )
    return MemoryReport(
        analysis.temp_size_in_bytes,
        analysis.argument_size_in_bytes,
        analysis.output_size_in_bytes,
    )
