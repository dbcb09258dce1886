"""Weights from and to lindermanlab/S5, by the names of the parameters of its `S5SSM`.

    Lambda_re, Lambda_im = Λ,  B[..., 0] + i B[..., 1] = B,  C likewise,  D,  log_step[:, 0] = log Δ

Flax is never imported.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._cells.diagonal.s5 import S5
from ._arrays import all_floating, check_shapes, check_type, filled

AXES = {"Lambda_re": 1, "Lambda_im": 1, "B": 3, "C": 3, "D": 1, "log_step": 2}

REMEDY = (
    "pass the params of one S5SSM that runs in one direction; those of another direction are "
    "the columns of a C of twice the width, or C2 beside C1."
)


def from_s5(params: Mapping[str, Any]) -> S5:
    """The cell that computes what an `S5SSM` with these parameters computes.

    The parameters do not tell how the module was made. The cell is one with zero-order hold and
    conjugate symmetry, both the default; of one made with `clip_eigs=True`, give
    `Lambda_re` clipped to at most −1e-4, and where `step_rescale` is not 1, add its logarithm to
    `log_step`. Dtypes are kept, but for float64 without JAX's x64 mode, which becomes float32. It
    can be differentiated.

    Args:
        params: arrays by the names of the module's parameters.

    Raises:
        ValueError: where names or shapes do not fit.

    Example:
        >>> import numpy as np
        >>> from seqmem.interop import from_s5
        >>> shapes = {"Lambda_re": 5, "Lambda_im": 5, "B": (5, 3, 2), "C": (3, 5, 2)}
        >>> shapes |= {"D": 3, "log_step": (5, 1)}
        >>> cell = from_s5({name: np.ones(shape) for name, shape in shapes.items()})
        >>> cell.input_size, cell.hidden_size
        (3, 5)
    """
    arrays = all_floating(params, AXES, remedy=REMEDY)
    hidden, inputs = arrays["B"].shape[:2]
    check_shapes(
        arrays,
        {
            "Lambda_re": (hidden,),
            "Lambda_im": (hidden,),
            "B": (hidden, inputs, 2),
            "C": (inputs, hidden, 2),
            "D": (inputs,),
            "log_step": (hidden, 1),
        },
        whose=f"{inputs} inputs and {hidden} states",
        remedy=REMEDY,
    )
    fields = {
        "Lambda": jnp.stack([jnp.asarray(arrays["Lambda_re"]), jnp.asarray(arrays["Lambda_im"])]),
        "B": jnp.moveaxis(jnp.asarray(arrays["B"]), -1, 0),
        "C": jnp.moveaxis(jnp.asarray(arrays["C"]), -1, 0),
        "D": arrays["D"],
        "log_delta": arrays["log_step"][:, 0],
    }
    return filled(S5, inputs, hidden, blocks=hidden, fields=fields)


def to_s5(cell: S5) -> dict[str, Float[np.ndarray, "..."]]:
    """The parameters of a cell by the names that an `S5SSM` has for them.

    The inverse of `from_s5`, for a module with zero-order hold and conjugate symmetry, both the
    default, and `P=cell.hidden_size`.

    Args:
        cell: the cell.

    Raises:
        ValueError: for a cell of another type.

    Example:
        >>> import jax, seqmem
        >>> from seqmem.interop import to_s5
        >>> cell = seqmem.S5(3, 5, key=jax.random.key(0))
        >>> {name: array.shape for name, array in to_s5(cell).items() if name in "BCD"}
        {'B': (5, 3, 2), 'C': (3, 5, 2), 'D': (3,)}
    """
    check_type(cell, S5)
    real, imaginary = np.array(cell.Lambda)
    return {
        "Lambda_re": real,
        "Lambda_im": imaginary,
        "B": np.moveaxis(np.array(cell.B), 0, -1),
        "C": np.moveaxis(np.array(cell.C), 0, -1),
        "D": np.array(cell.D),
        "log_step": np.array(cell.log_delta)[:, None],
    }
