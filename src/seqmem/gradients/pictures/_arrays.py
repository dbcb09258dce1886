"""Checks of the arrays to plot."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..._core.errors import bad_input


def named_arrays(
    named: Mapping[str, Any], check: Callable[..., np.ndarray], *axes: str
) -> dict[str, np.ndarray]:
    """`check(values, *axes)` for every name: the arrays, by name.

    Raises:
        ValueError: where it is no mapping, or has no entry.
    """
    check_named(named)
    return {name: check(values, *axes) for name, values in named.items()}


def check_named(named: Any) -> None:
    """Refuse anything but a mapping with at least one entry."""
    if not isinstance(named, Mapping) or not named:
        raise bad_input(
            f"a {type(named).__name__} without names to plot.",
            "a dict from names to values, with at least one entry.",
            'pass {"LSTM": curve}.',
        )


def real_array(values: Any, *axes: str) -> np.ndarray:
    """Real numbers with these axes, as a NumPy array.

    Raises:
        ValueError: for another number of axes, another dtype, or no entry.
    """
    try:
        array = np.asarray(values).astype(float, casting="same_kind")
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != len(axes) or not array.size:
        raise bad_input(
            f"a {type(values).__name__} of shape {np.shape(array)} to plot.",
            f"real numbers [{', '.join(axes)}], at least one.",
            "select one example, or take the mean or median over the batch.",
        )
    return array


def norm_array(values: Any, *axes: str) -> np.ndarray:
    """The same for norms, which are at least 0.

    Raises:
        ValueError: for a number below 0 too.
    """
    array = real_array(values, *axes)
    if (array < 0).any():
        raise bad_input(
            f"norms [{', '.join(axes)}] with a minimum of {np.nanmin(array):.3g}.",
            "norms, which are at least 0.",
            "pass the norms themselves: the axis is logarithmic.",
        )
    return array
