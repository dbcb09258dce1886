"""The `S5SSM` of lindermanlab/S5."""

from collections.abc import Mapping
from typing import Any

from .._cells.diagonal.s5 import S5
from ._checks import check_type
from .weight_table import Row, Weights, WeightTable, complex_matrix, same

TABLE = WeightTable(
    make=S5,
    arguments=("input_size", "hidden_size", "blocks=hidden_size"),
    rows=(
        Row({"Lambda": "2 hidden_size"}, {"Lambda_re": "hidden_size", "Lambda_im": "hidden_size"}),
        complex_matrix("B", "hidden_size input_size"),
        complex_matrix("C", "input_size hidden_size"),
        same("D", "D", "input_size"),
        Row({"log_delta": "hidden_size"}, {"log_step": "hidden_size 1"}),
    ),
    remedy="pass the params of one S5SSM that runs in one direction; those of another direction "
    "are the columns of a C of twice the width, or C1 and C2.",
    is_partial=True,
)


def from_s5(params: Mapping[str, Any]) -> S5:
    """The cell that computes what an `S5SSM` with these parameters computes.

    The parameters do not tell how the module was made. The cell is one with zero-order hold and
    conjugate symmetry, both the default. For a module with `clip_eigs=True`, pass `Lambda_re`
    clipped to at most −1e-4; for a `step_rescale` other than 1, add its logarithm to `log_step`.

    Args:
        params: arrays by the names of the module's parameters.

    Raises:
        ValueError: where names or shapes do not fit.

    Example:
        >>> import jax, seqmem
        >>> from seqmem.interop import from_s5, to_s5
        >>> params = to_s5(seqmem.S5(3, 5, key=jax.random.key(0)))
        >>> cell = from_s5(params)
        >>> cell.input_shape, cell.Lambda.shape, params["B"].shape
        ((3,), (2, 5), (5, 3, 2))
    """
    return TABLE.to_ours(params)


def to_s5(cell: S5) -> Weights:
    """The inverse of `from_s5`.

    The module has zero-order hold and conjugate symmetry, both the default, and
    `P=len(cell.log_delta)`.

    Raises:
        ValueError: for another cell.
    """
    check_type(cell, S5)
    return TABLE.to_theirs(cell)
