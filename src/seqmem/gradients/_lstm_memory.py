"""The distribution of the memory of a random LSTM, and how perturbations of it grow.

    c' = f c + a,    a = i g        f and a independent of c and of each other

The distribution of c is not normal: it has a density on a grid. A point between grid points is
shared out over the nearest three with the weights of a parabola, so that no step changes the mean
or the variance of c.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ._gaussian import NODES, WEIGHTS, normal_nodes, sigmoid, sigmoid_slope, tanh_slope

POINTS = 161  # of the grid
REACH = 8.0  # standard deviations of c on either side
Matrix = Float[np.ndarray, "point point"]
Vector = Float[np.ndarray, " point"]


class Gates(NamedTuple):
    """Mean and variance of the normal pre-activations of an LSTM's gates, and of the weights that
    make them from h: input, forget, cell and output, [4].
    """

    mean: Float[np.ndarray, " 4"]
    variance: Float[np.ndarray, " 4"]
    weight_variance: Float[np.ndarray, " 4"]


class LSTMMoments(NamedTuple):
    """E[h²] of the next step, and what a perturbation of the state becomes in it.

    Attributes:
        length: E[h²] = E[o²] E[tanh(c)²].
        growth: the matrix of the linear map (E[δh²], E[δc² | c] p(c)) of one step.
        radius: E[f] + σ_g E[i] E[tanh′(g)] E[o] E[sech²(c)].
    """

    length: float
    growth: Float[np.ndarray, "entry entry"]
    radius: float


def memory_length(gates: Gates) -> float:
    """E[h²] of the next step."""
    c, p, _ = _density(gates)
    return max(float(_mean(sigmoid, gates, 3, 2) * (p @ np.tanh(c) ** 2)), 0.0)


def memory_moments(gates: Gates) -> LSTMMoments:
    """All of `LSTMMoments`."""
    c, p, add = _density(gates)
    sigma = gates.weight_variance
    (i, di), (f, df), (g, dg) = (_values(gates, k) for k in range(3))
    o_squares, do_squares = (_mean(fn, gates, 3, 2) for fn in (sigmoid, sigmoid_slope))

    by_f = add @ _products(c, f, WEIGHTS * f**2)
    forget_source = add @ (_products(c, f, WEIGHTS * sigma[1] * df**2) @ (c**2 * p))
    pairs = np.outer(WEIGHTS, WEIGHTS)
    squares = sigma[0] * np.outer(di, g) ** 2 + sigma[2] * np.outer(i, dg) ** 2
    write_source = _sums(c, np.outer(i, g), pairs * squares) @ (_products(c, f, WEIGHTS) @ p)
    source = forget_source + write_source
    slopes, lengths = tanh_slope(c) ** 2, p @ np.tanh(c) ** 2
    growth = np.empty((POINTS + 1, POINTS + 1))
    growth[0, 0] = o_squares * slopes @ source + sigma[3] * do_squares * lengths
    growth[0, 1:] = o_squares * slopes @ by_f
    growth[1:, 0] = source
    growth[1:, 1:] = by_f
    written = sigma[2] ** 0.5 * (WEIGHTS @ i) * (WEIGHTS @ dg)
    shown = _mean(sigmoid, gates, 3, 1) * (p @ tanh_slope(c))
    return LSTMMoments(float(o_squares * lengths), growth, float(WEIGHTS @ f + written * shown))


def _density(gates: Gates) -> tuple[Vector, Vector, Matrix]:
    """The grid, the stationary distribution on it, and the matrix that adds a = i g."""
    (i, _), (f, _), (g, _) = (_values(gates, k) for k in range(3))
    means = WEIGHTS @ i * (WEIGHTS @ g), WEIGHTS @ f
    squares = WEIGHTS @ i**2 * (WEIGHTS @ g**2), WEIGHTS @ f**2
    mean = means[0] / (1 - means[1])
    square = (squares[0] + 2 * means[0] * means[1] * mean) / (1 - squares[1])
    half_width = abs(mean) + REACH * max(square - mean**2, 1e-20) ** 0.5
    c = np.linspace(-half_width, half_width, POINTS)
    add = _sums(c, np.outer(i, g), np.outer(WEIGHTS, WEIGHTS))
    step = add @ _products(c, f, WEIGHTS)
    equations = np.vstack([step - np.eye(POINTS), np.ones(POINTS)])[1:]  # one is redundant
    p = np.linalg.solve(equations, np.eye(POINTS)[-1])
    return c, p, add


def _values(gates: Gates, k: int) -> tuple[Vector, Vector]:
    """The values of a gate at the nodes, and their derivatives."""
    z = normal_nodes(gates.mean[k], gates.variance[k])
    return (np.tanh(z), tanh_slope(z)) if k == 2 else (sigmoid(z), sigmoid_slope(z))


def _mean(function, gates: Gates, k: int, power: int) -> float:
    return float(WEIGHTS @ function(normal_nodes(gates.mean[k], gates.variance[k])) ** power)


def _products(c: Vector, f: Float[np.ndarray, " nodes"], weights: Vector) -> Matrix:
    """The matrix that maps a density of c to that of f c, with a weight for each value of f."""
    starts = np.broadcast_to(np.arange(POINTS), (len(NODES), POINTS))
    return _deposit(c, np.outer(f, c), starts, np.broadcast_to(weights[:, None], starts.shape))


def _sums(c: Vector, a: Float[np.ndarray, "n n"], weights: Float[np.ndarray, "n n"]) -> Matrix:
    """The matrix that maps a density of c to that of c + a, with a weight for each value of a."""
    step, centre = c[1] - c[0], POINTS - 1
    offsets = np.clip(a / step, -centre + 1, centre - 1)
    nearest = np.rint(offsets).astype(int)
    kernel = np.zeros(2 * POINTS - 1)
    for shift, share in _shares(offsets - nearest):
        kernel += np.bincount(
            (nearest + shift + centre).ravel(), (weights * share).ravel(), len(kernel)
        )
    rows = np.arange(POINTS)
    return kernel[rows[:, None] - rows + centre]


def _deposit(c, values, starts, weights) -> Matrix:
    """Σ weights over pairs of a start and a value, shared out over the points near the value."""
    places = (values - c[0]) / (c[1] - c[0])
    nearest = np.clip(np.rint(places), 1, POINTS - 2).astype(int)
    matrix = np.zeros(POINTS * POINTS)
    for shift, share in _shares(places - nearest):
        index = (nearest + shift) * POINTS + starts
        matrix += np.bincount(index.ravel(), (weights * share).ravel(), len(matrix))
    return matrix.reshape(POINTS, POINTS)


def _shares(distance):
    """What the three points nearest to a value get, from its distance to the middle one."""
    d = distance
    return (-1, d * (d - 1) / 2), (0, 1 - d**2), (1, d * (d + 1) / 2)
