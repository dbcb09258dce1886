"""The `LinOSSLayer` of tk-rusch/linoss, and its damped form in discretax and damped-linoss."""

from collections.abc import Mapping
from typing import Any

from .._cells.block_diagonal.d_lin_oss import DLinOSS
from .._cells.block_diagonal.lin_oss_im import LinOSSIM
from .._cells.block_diagonal.lin_oss_imex import LinOSSIMEX
from .._core.errors import bad_input
from .weight_table import Row, Weights, WeightTable, complex_matrix, same

LinOSS = LinOSSIM | LinOSSIMEX | DLinOSS


def _table(cell_type: type, *rows: Row) -> WeightTable:
    return WeightTable(
        make=cell_type,
        arguments=("input_size", "hidden_size"),
        rows=(
            same("A", "A_diag", "hidden_size"),
            *rows,
            complex_matrix("B", "hidden_size input_size"),
            complex_matrix("C", "input_size hidden_size"),
            same("D", "D", "input_size"),
            same("delta", "steps", "hidden_size"),
        ),
        remedy="pass the arrays of one LinOSSLayer by their names; damped-linoss calls steps dt.",
    )


TABLES = {
    LinOSSIM: _table(LinOSSIM),
    LinOSSIMEX: _table(LinOSSIMEX),
    DLinOSS: _table(DLinOSS, same("G", "G_diag", "hidden_size")),
}


def from_linoss(params: Mapping[str, Any], cell_type: type[LinOSS]) -> LinOSS:
    """The cell that computes what a `LinOSSLayer` with these parameters computes.

    The parameters do not tell how the layer discretises a step.

    Args:
        params: arrays by the names of the layer's parameters: `A_diag`, `B`, `C`, `D` and `steps`,
            of a damped layer also `G_diag`.
        cell_type: `seqmem.LinOSSIM` for the discretisation "IM", `seqmem.LinOSSIMEX` for "IMEX",
            `seqmem.DLinOSS` for a damped "IMEX".

    Raises:
        ValueError: for another type, and where names or shapes do not fit.

    Example:
        >>> import jax, seqmem
        >>> from seqmem.interop import from_linoss, to_linoss
        >>> params = to_linoss(seqmem.DLinOSS(3, 5, key=jax.random.key(0)))
        >>> cell = from_linoss(params, seqmem.DLinOSS)
        >>> cell.input_shape, cell.G.shape, params["B"].shape
        ((3,), (5,), (5, 3, 2))
    """
    return _table_of(cell_type).to_ours(params)  # pyright: ignore


def to_linoss(cell: LinOSS) -> Weights:
    """The inverse of `from_linoss`.

    Raises:
        ValueError: for another cell.
    """
    return _table_of(type(cell)).to_theirs(cell)


def _table_of(cell_type: Any) -> WeightTable:
    if cell_type not in TABLES:
        raise bad_input(
            f"a LinOSSLayer for {getattr(cell_type, '__name__', cell_type)}.",
            f"one of {', '.join(cls.__name__ for cls in TABLES)}.",
            "pass the type of the cell for the layer's discretisation.",
        )
    return TABLES[cell_type]
