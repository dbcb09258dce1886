"""A way around a cell."""

from typing import Any

import jax
from jaxtyping import PyTree

from .._core.cell import AbstractCell, Drive, Output, State, over, project, readout, update
from .._core.errors import bad_input
from .._methods.default import default_method
from .._methods.report import run_with_report
from .._core.precision import as_precision, precision
from .._methods.layer_by_layer import AbstractContainer, LayerByLayer, in_layers


class Residual(AbstractContainer):
    """A cell beside which its input passes: y_t = x_t + cell(x)_t.

    It is a cell: it steps, and every law holds for it. `unroll` runs the cell within by its own
    best method, layer by layer where that is a `Stack`; `LayerByLayer` hands its methods on to it,
    and any other method runs the whole as one cell.

    Args:
        cell: one whose outputs have the shape of its inputs.

    Raises:
        ValueError: when run, where they have not.

    Example:
        >>> import jax, seqmem
        >>> from seqmem.layers import Map, Residual, RMSNorm, Stack
        >>> def block(key):
        ...     return Residual(Stack([RMSNorm(6), seqmem.S5(6, 8, key=key), Map(jax.nn.gelu)]))
        >>> net = Stack([block(key) for key in jax.random.split(jax.random.key(0), 4)])
        >>> state, ys = seqmem.unroll(net, net.init_state(), jax.numpy.ones((7, 6)))
        >>> ys.shape
        (7, 6)
    """

    cell: AbstractCell

    @property
    def input_axes(self) -> Any:  # pyright: ignore
        return self.cell.input_axes

    @property
    def input_size(self) -> int | None:
        return getattr(self.cell, "input_size", None)

    def init_state(self) -> State:
        return self.cell.init_state()

    def project(self, x: PyTree) -> Drive:
        return x, self.cell.project(x)

    def update(self, state: State, drive: Drive) -> State:
        return update(self.cell, state, drive[1])

    def readout(self, state: State, drive: Drive) -> Output:
        x, seen = drive
        return added(x, readout(self.cell, state, seen))


def added(x: PyTree, y: PyTree) -> PyTree:
    """x + y, in the precision of x."""
    if jax.tree.map(jax.numpy.shape, x) != jax.tree.map(jax.numpy.shape, y):
        raise bad_input(
            f"Residual got {jax.tree.map(jax.numpy.shape, y)} from its cell for an input of "
            f"{jax.tree.map(jax.numpy.shape, x)}.",
            "an output of the shape of the input.",
            "choose the sizes of the cell alike, or put a seqmem.layers.Map behind it.",
        )
    return jax.tree.map(jax.numpy.add, x, as_precision(y, precision(x)))


@in_layers.register
def _(cell: Residual, own: LayerByLayer, init, state, inputs, *, batch_axes, reverse):
    best = default_method(cell.cell)
    if isinstance(best, LayerByLayer):
        method = own
    elif len(own.methods) > 1:
        raise bad_input(
            f"LayerByLayer got {len(own.methods)} methods for one layer.",
            "none, or one.",
            "write one method for the cell within the Residual, or None.",
        )
    else:
        method = next(iter(own.methods), None) or best
    last, shown, report = run_with_report(
        method, cell.cell, init, state, inputs, batch_axes=batch_axes, reverse=reverse
    )
    x = over(lambda x: project(cell, x, init)[0], 1 + batch_axes)(inputs.x)
    return last, over(added, 1 + batch_axes)(x, shown), report
