"""Random RNNs, LSTMs and GRUs in the limit of many units: their equations and their statistics."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._cells.gated.gru import GRU
from .._cells.gated.lstm import LSTM
from .._cells.gated.rnn import RNN
from .._core.cell import AbstractCell
from .._core.errors import bad_input
from ._gaussian import WEIGHTS, normal_nodes, sigmoid, sigmoid_slope, tanh_slope
from ._lstm_memory import Gates, memory_length, memory_moments


class Ensemble(NamedTuple):
    """The distribution of the pre-activations of a random cell, one entry per gate.

    Attributes:
        weight_variance: σ², the variance of the recurrent weights times the units.
        mean: of the biases.
        other_variance: of the pre-activations, by biases and inputs.
    """

    weight_variance: Float[np.ndarray, " gates"]
    mean: Float[np.ndarray, " gates"]
    other_variance: Float[np.ndarray, " gates"]

    def fields(self, q: float) -> Gates:
        """The normal pre-activations at E[h²] = q."""
        variance = self.weight_variance * q + self.other_variance
        return Gates(self.mean, variance, self.weight_variance)

    def scaled(self, gain: float) -> "Ensemble":
        """That of the cell with recurrent weights multiplied by `gain`."""
        return self._replace(weight_variance=gain**2 * self.weight_variance)


class Theory(NamedTuple):
    """The equations of one cell in the notation of `mean_field`.

    Attributes:
        next_length: q ↦ the q of the next step.
        growth: q ↦ (χ, radius).
    """

    next_length: Callable[[Gates, float], float]
    growth: Callable[[Gates, float], tuple[float, float]]


def ensemble_of(owner: str, cell: Any, input_power: float) -> Ensemble:
    """The distribution of a cell's pre-activations. Of a GRU the candidate is two entries: what
    comes from the input, and m, which the reset gate multiplies.

    Raises:
        ValueError: for recurrent weights that are no array, or a power out of range.
    """
    if not 0 <= input_power < math.inf:
        raise bad_input(
            f"{owner} got input_power={input_power!r}.",
            "the mean square of an input's features, a finite number of at least 0.",
            "pass float(jnp.mean(xs ** 2)), or leave it out where there are no inputs.",
        )
    if not isinstance(cell.U, jax.Array):
        raise bad_input(
            f"{owner} got a {type(cell).__name__} whose U is a {type(cell.U).__name__}.",
            "recurrent weights that are an array, whose entries are independent.",
            "make the cell without a structure, or find the gain by gradients.with_unit_growth.",
        )
    count = max(len(cell.gates), 1)
    W, U, b = (_by_gate(leaf, count) for leaf in (cell.W, cell.U, cell.b))
    units, features = cell.U.shape[-1], cell.W.shape[-1]
    weight_variance = units * (U**2).mean(1)
    mean, other_variance = b.mean(1), b.var(1) + input_power * features * (W**2).mean(1)
    if isinstance(cell, GRU):
        c = _by_gate(cell.c, 1)
        weight_variance = np.insert(weight_variance, 2, 0.0)
        mean, other_variance = np.append(mean, c.mean()), np.append(other_variance, c.var())
    return Ensemble(weight_variance, mean, other_variance)


def theory_of(owner: str, cell: AbstractCell) -> Theory:
    """The equations of the cell.

    Raises:
        ValueError: for a cell that is no RNN, LSTM or GRU.
    """
    if isinstance(cell, RNN):
        return _rnn_theory(cell.activation)
    if isinstance(cell, LSTM):
        return Theory(lambda gates, q: memory_length(gates), _lstm_growth)
    if isinstance(cell, GRU):
        return Theory(_gru_length, _gru_growth)
    raise bad_input(
        f"{owner} got a {type(cell).__name__}.",
        "an RNN, an LSTM or a GRU, whose mean-field theory is known.",
        "for any other cell find the gain from data, by gradients.with_unit_growth.",
    )


def _by_gate(leaf: Array, count: int) -> Float[np.ndarray, "gate entry"]:
    return np.asarray(leaf, np.float64).reshape(count, -1)


def _rnn_theory(activation: Callable[[Array], Array]) -> Theory:
    def values(gates: Gates) -> tuple[np.ndarray, np.ndarray]:
        """φ and φ′ at the nodes, in float64."""
        z = normal_nodes(gates.mean[0], gates.variance[0])
        with jax.enable_x64(True):
            nodes = jnp.asarray(z)
            value, slope = jax.jvp(activation, (nodes,), (jnp.ones_like(nodes),))
        return np.asarray(value), np.asarray(slope)

    def next_length(gates: Gates, q: float) -> float:
        return float(WEIGHTS @ values(gates)[0] ** 2)

    def growth(gates: Gates, q: float) -> tuple[float, float]:
        slope, variance = values(gates)[1], gates.weight_variance[0]
        return float(variance * (WEIGHTS @ slope**2)), float(variance**0.5 * (WEIGHTS @ slope))

    return Theory(next_length, growth)


def _lstm_growth(gates: Gates, q: float) -> tuple[float, float]:
    moments = memory_moments(gates)
    return float(np.abs(np.linalg.eigvals(moments.growth)).max()), moments.radius


class _Candidate(NamedTuple):
    """The reset gate r of a GRU and its candidate n = tanh(s), s = v + r m, on nodes of both."""

    r: Float[np.ndarray, " nodes"]
    dr: Float[np.ndarray, " nodes"]
    n: Float[np.ndarray, "nodes nodes"]
    dn: Float[np.ndarray, "nodes nodes"]
    m_squares: Float[np.ndarray, "nodes nodes"]  # E[m² | r, s]

    @classmethod
    def of(cls, gates: Gates) -> "_Candidate":
        z_r = normal_nodes(gates.mean[0], gates.variance[0])
        r = sigmoid(z_r)
        (mean_v, mean_m), (var_v, var_m) = gates.mean[2:], gates.variance[2:]
        var_s = var_v + r**2 * var_m
        offset = np.outer(var_s**0.5, normal_nodes(0.0, 1.0))
        s = (mean_v + r * mean_m)[:, None] + offset
        slope = r * var_m / np.maximum(var_s, 1e-300)  # of E[m | r, s] in s
        m = mean_m + slope[:, None] * offset
        m_squares = m**2 + (var_m - slope * r * var_m)[:, None]
        return cls(r, sigmoid_slope(z_r), np.tanh(s), tanh_slope(s), m_squares)


def _gru_length(gates: Gates, q: float) -> float:
    z = sigmoid(normal_nodes(gates.mean[1], gates.variance[1]))
    n = _Candidate.of(gates).n
    mean, square = WEIGHTS @ n @ WEIGHTS, WEIGHTS @ n**2 @ WEIGHTS  # E[h] = E[n] at rest
    mixed = 2 * (WEIGHTS @ (z * (1 - z))) * mean**2
    return float(WEIGHTS @ (1 - z) ** 2 * square + WEIGHTS @ z**2 * q + mixed)


def _gru_growth(gates: Gates, q: float) -> tuple[float, float]:
    z_z = normal_nodes(gates.mean[1], gates.variance[1])
    z, dz = sigmoid(z_z), sigmoid_slope(z_z)
    r, dr, n, dn, m_squares = _Candidate.of(gates)
    mean, square = WEIGHTS @ n @ WEIGHTS, WEIGHTS @ n**2 @ WEIGHTS
    distance = q - 2 * mean**2 + square  # E[(h − n)²]
    sigma = gates.weight_variance
    by_candidate = sigma[3] * (r**2)[:, None] + sigma[0] * (dr**2)[:, None] * m_squares
    chi = WEIGHTS @ z**2 + sigma[1] * (WEIGHTS @ dz**2) * distance
    chi += WEIGHTS @ (1 - z) ** 2 * (WEIGHTS @ (dn**2 * by_candidate) @ WEIGHTS)
    written = sigma[3] ** 0.5 * (WEIGHTS @ (r[:, None] * dn) @ WEIGHTS)
    return float(chi), float(WEIGHTS @ z + WEIGHTS @ (1 - z) * written)
