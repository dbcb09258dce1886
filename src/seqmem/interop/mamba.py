"""Weights from and to a Mamba mixer, by the names in its `state_dict`.

    x_proj.weight = [V_Δ; W_B; W_C],  dt_proj.weight = W_Δ,  dt_proj.bias = b,  A_log,  D

Hugging Face's `MambaMixer` and state-spaces' `Mamba` have the same names. PyTorch is never
imported.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from .._cells.diagonal.s6 import S6
from .._core.precision import as_precision, precision
from ._arrays import all_floating, check_shapes, check_type, filled

AXES = {"x_proj.weight": 2, "dt_proj.weight": 2, "dt_proj.bias": 1, "A_log": 2, "D": 1}

REMEDY = (
    "pass the state_dict of one MambaMixer, with prefixes such as "
    "'backbone.layers.0.mixer.' cut off the names."
)


def from_mamba(state_dict: Mapping[str, Any]) -> tuple[S6, dict[str, Any]]:
    """The selective core of a Mamba mixer, and what of the mixer is not in it.

        h = SiLU(conv1d(x)),  [x; z] = in_proj(input)      not in it
        y = core(h)                                        the cell
        output = out_proj(y ∘ SiLU(z))                     not in it

    The parameters get the widest precision among them: checkpoints often keep A_log and D in 32
    bits beside the rest in 16.

    Args:
        state_dict: arrays by the mixer's names. Tensors on the CPU will do.

    Returns:
        The cell, and a dict of everything in `state_dict` that the cell does not hold, untouched:
        in a mixer `in_proj`, `conv1d` and `out_proj`. `rest | to_mamba(cell)` is all of it again.

    Raises:
        ValueError: where names or shapes do not fit.

    Example:
        >>> import numpy as np
        >>> from seqmem.interop import from_mamba
        >>> shapes = {"x_proj.weight": (13, 7), "dt_proj.weight": (7, 3), "dt_proj.bias": 7}
        >>> shapes |= {"A_log": (7, 5), "D": 7, "conv1d.bias": 7}
        >>> cell, rest = from_mamba({name: np.ones(shape) for name, shape in shapes.items()})
        >>> cell.input_size, cell.state_size, list(rest)
        (7, 5, ['conv1d.bias'])
    """
    arrays = all_floating(state_dict, AXES, remedy=REMEDY)
    (channels, state), rank = arrays["A_log"].shape, arrays["dt_proj.weight"].shape[1]
    check_shapes(
        arrays,
        {
            "x_proj.weight": (rank + 2 * state, channels),
            "dt_proj.weight": (channels, rank),
            "dt_proj.bias": (channels,),
            "A_log": (channels, state),
            "D": (channels,),
        },
        whose=f"{channels} channels, {state} states and a Δ of rank {rank}",
        remedy=REMEDY,
    )
    rows = arrays["x_proj.weight"]
    fields = {
        "V_delta": rows[:rank],
        "W_delta": arrays["dt_proj.weight"],
        "b": arrays["dt_proj.bias"],
        "W_B": rows[rank : rank + state],
        "W_C": rows[rank + state :],
        "A_log": arrays["A_log"],
        "D": arrays["D"],
    }
    cell = filled(S6, channels, state, rank=rank, fields=fields)
    rest = {name: value for name, value in state_dict.items() if name not in AXES}
    return as_precision(cell, precision(cell)), rest


def to_mamba(cell: S6) -> dict[str, Float[np.ndarray, "..."]]:
    """The parameters of a cell by the names that a Mamba mixer has for them.

    The inverse of `from_mamba`; for `module.load_state_dict`, join it with the rest, or pass
    `strict=False`.

    Args:
        cell: the cell.

    Raises:
        ValueError: for a cell of another type.

    Example:
        >>> import jax, seqmem
        >>> from seqmem.interop import to_mamba
        >>> cell = seqmem.S6(7, 5, rank=3, key=jax.random.key(0))
        >>> [(name, array.shape) for name, array in to_mamba(cell).items()][:2]
        [('x_proj.weight', (13, 7)), ('dt_proj.weight', (7, 3))]
    """
    check_type(cell, S6)
    return {
        "x_proj.weight": np.concatenate([cell.V_delta, cell.W_B, cell.W_C]),
        "dt_proj.weight": np.array(cell.W_delta),
        "dt_proj.bias": np.array(cell.b),
        "A_log": np.array(cell.A_log),
        "D": np.array(cell.D),
    }
