"""How many bytes a gradient through time will take, from its program alone: nothing is compiled or
run.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from .._core.cell import AbstractCell
from ._liveness import Program
from .._core.method import AbstractMethod
from .._core.precision import precision
from .._unroll import unroll


@dataclasses.dataclass(frozen=True)
class MemoryReport:
    """Bytes of one gradient through time.

    Attributes:
        kept: what is kept over all of time for the backward pass, outputs included.
        peak: the most that is alive at any moment beside the arguments and the results, `kept`
            included.
    """

    kept: int
    peak: int

    def __str__(self) -> str:
        return f"kept {self.kept / 2**20:.1f} MiB, peak {self.peak / 2**20:.1f} MiB"


def memory_report(
    cell: AbstractCell,
    xs_shape: PyTree,
    method: AbstractMethod | None = None,
    chunk: int | None = None,
) -> MemoryReport:
    """The bytes that the gradient of the sum of all squared outputs takes, before any run.

    An estimate: it follows the program as JAX writes it, array by array, without the compiler's
    fusions.

    Args:
        cell: the cell.
        xs_shape: the shape of the inputs, [time, *batch, ...], in the dtype of the parameters; or
            a tree of `jax.ShapeDtypeStruct`.
        method: as for `unroll`.
        chunk: as for `unroll`.

    Raises:
        ValueError: where `unroll` would.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.LSTM(32, 128, key=jax.random.key(0))
        >>> lean = seqmem.memory_report(cell, (1024, 8, 32), method=seqmem.Scan(recompute=True))
        >>> plain = seqmem.memory_report(cell, (1024, 8, 32), method=seqmem.ReferenceScan())
        >>> lean.kept < plain.kept / 3
        True
    """
    if isinstance(xs_shape, tuple) and all(isinstance(size, int) for size in xs_shape):
        xs_shape = jax.ShapeDtypeStruct(xs_shape, precision(cell) or jnp.result_type(float))

    def run(cell, xs):
        return unroll(cell, cell.init_state(), xs, method=method, remat_every=chunk)[1]

    def residuals(cell, xs):
        return jax.vjp(lambda cell: run(cell, xs), cell)

    def loss(cell, xs):
        return sum(jnp.sum(square(y)) for y in jax.tree.leaves(run(cell, xs)))

    def square(y):
        return jnp.abs(y) ** 2 if jnp.iscomplexobj(y) else y**2

    forward = Program(jax.make_jaxpr(residuals)(cell, xs_shape))
    both = Program(jax.make_jaxpr(jax.grad(loss, allow_int=True))(cell, xs_shape))
    return MemoryReport(forward.results, both.peak)
