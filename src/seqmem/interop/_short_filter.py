"""A short convolution in PyTorch's layout, whose last tap is for the present step."""

from typing import Any

import numpy as np
from jaxtyping import Array, Float


def taps(weight: Any) -> Any:
    """[channel, 1, width] to [width, channel], the present step first."""
    return weight[:, 0, ::-1].T


def weight(taps: Array) -> Float[np.ndarray, "channel 1 width"]:
    """The inverse of `taps`."""
    return np.array(taps[::-1].T[:, None])
