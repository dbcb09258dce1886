"""The Mamba mixer: `MambaMixer` of Hugging Face and `Mamba` of state-spaces, which have the same
names.
"""

from collections.abc import Mapping
from typing import Any

from .._cells.diagonal.s6 import S6
from ._checks import check_type
from .weight_table import Row, Weights, WeightTable, same

STATES = "state_size input_size"

TABLE = WeightTable(
    make=S6,
    arguments=("input_size", "state_size", "rank"),
    rows=(
        Row(
            {"V_delta": "rank input_size", "W_B": STATES, "W_C": STATES},
            {"x_proj.weight": "rank+2*state_size input_size"},
        ),
        same("W_delta", "dt_proj.weight", "input_size rank"),
        same("b", "dt_proj.bias", "input_size"),
        same("A_log", "A_log", "input_size state_size"),
        same("D", "D", "input_size"),
    ),
    remedy="pass the state_dict of one MambaMixer, with prefixes such as "
    "'backbone.layers.0.mixer.' cut off the names.",
    is_partial=True,
)


def from_mamba(state_dict: Mapping[str, Any]) -> tuple[S6, dict[str, Any]]:
    """The selective core of a Mamba mixer, and the parameters of the mixer around it.

        h = SiLU(conv1d(x)),  [x; z] = in_proj(input)      around it
        y = core(h)                                        the cell
        output = out_proj(y ∘ SiLU(z))                     around it

    Args:
        state_dict: arrays by the mixer's names.

    Returns:
        The cell, and a dict of everything in `state_dict` that the cell does not hold, unchanged:
        in a mixer `in_proj`, `conv1d` and `out_proj`. `rest | to_mamba(cell)` is all of it.

    Raises:
        ValueError: where names or shapes do not fit.

    Example:
        >>> import jax, seqmem
        >>> from seqmem.interop import from_mamba, to_mamba
        >>> weights = to_mamba(seqmem.S6(7, 5, rank=3, key=jax.random.key(0)))
        >>> cell, rest = from_mamba(weights | {"conv1d.bias": jax.numpy.ones(7)})
        >>> cell.input_shape, cell.A_log.shape, list(rest)
        ((7,), (7, 5), ['conv1d.bias'])
    """

    rest = {name: value for name, value in state_dict.items() if name not in TABLE.shapes}
    return TABLE.to_ours(state_dict), rest


def to_mamba(cell: S6) -> Weights:
    """The inverse of `from_mamba`.

    For `module.load_state_dict`, join the arrays with the rest, or pass `strict=False`.

    Raises:
        ValueError: for another cell.
    """
    check_type(cell, S6)
    return TABLE.to_theirs(cell)
