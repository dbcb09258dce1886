"""`Memory`: a cell as a module of Flax NNX.

A cell is an Equinox module: a JAX tree, whose arrays NNX does not take for parameters. Stored in an
`nnx.Module` with `nnx.data`, it runs, but no optimiser ever changes it.
"""

from typing import Any

import equinox as eqx
import jax
from flax import nnx
from jaxtyping import PyTree

from .._core.cell import AbstractLayer
from .._core.problem import Output, State
from .._unroll import unroll


class Memory(nnx.Module):
    """A cell, or another layer, whose arrays are the parameters of an NNX module.

    The floating-point arrays are `nnx.Param` in `variables`, by their paths in the cell, such as
    "layers.0.W"; other arrays are `nnx.Variable`. `cell` is the cell with their present values.

    Args:
        cell: the cell, or another layer.

    Example:
        >>> import jax, optax, seqmem
        >>> from flax import nnx
        >>> from seqmem.interop.nnx import Memory
        >>> memory = Memory(seqmem.GRU(3, 5, key=jax.random.key(0)))
        >>> optimiser = nnx.Optimizer(memory, optax.adam(1e-3), wrt=nnx.Param)
        >>> state, ys = memory(None, jax.numpy.ones((7, 2, 3)))
        >>> ys.shape
        (7, 2, 5)
    """

    def __init__(self, cell: AbstractLayer):
        arrays, self._static = eqx.partition(cell, eqx.is_array)
        paths, self._structure = jax.tree.flatten_with_path(arrays)
        self._names = tuple(jax.tree_util.keystr(p, simple=True, separator=".") for p, _ in paths)
        kinds = [nnx.Param if eqx.is_inexact_array(array) else nnx.Variable for _, array in paths]
        values = [kind(array) for kind, (_, array) in zip(kinds, paths, strict=True)]
        self.variables = nnx.Dict(dict(zip(self._names, values, strict=True)))

    @property
    def cell(self) -> Any:
        """The cell with the present values of the variables."""
        arrays = [self.variables[name][...] for name in self._names]
        return eqx.combine(jax.tree.unflatten(self._structure, arrays), self._static)

    def __call__(self, state: State | None, xs: PyTree, **options: Any) -> tuple[State, Output]:
        """`seqmem.unroll(self.cell, state, xs, **options)`."""
        return unroll(self.cell, state, xs, **options)

    def init_state(self, *batch: int) -> State:
        """The state before the first input, `batch` in front of every leaf."""
        return self.cell.init_state(*batch)
