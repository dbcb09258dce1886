"""Means of functions of normal variables, in NumPy's float64 whatever JAX's precision is."""

import numpy as np
from jaxtyping import Float

_STEP = 0.1
# Without a node at 0, where the derivative of a ReLU jumps.
NODES: Float[np.ndarray, " nodes"] = (np.arange(-85, 85) + 0.5) * _STEP
_DENSITY = np.exp(-(NODES**2) / 2)
# The trapezoidal rule: for a smooth function of a normal variable its error decays faster than any
# power of the step, and unlike that of Gauss and Hermite it stays accurate where the function is
# steep.
WEIGHTS: Float[np.ndarray, " nodes"] = _DENSITY / _DENSITY.sum()


def normal_nodes(mean: float, variance: float) -> Float[np.ndarray, " nodes"]:
    """Values of a normal variable, whose weights are `WEIGHTS`."""
    return mean + max(variance, 1e-40) ** 0.5 * NODES


def sigmoid(z: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """1 / (1 + exp(−z))."""
    return 0.5 + 0.5 * np.tanh(0.5 * z)


def sigmoid_slope(z: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """The derivative of the sigmoid."""
    return 0.25 / np.cosh(0.5 * z) ** 2


def tanh_slope(z: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """The derivative of tanh."""
    return 1 / np.cosh(np.clip(z, -300, 300)) ** 2
