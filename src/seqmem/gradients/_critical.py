"""Gains at which gradients neither vanish nor explode: by theory, and from data."""

import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

from .._cells.gated.rnn import RNN
from .._cells.gates import with_gate
from .._core.calls import makes_layer
from .._core.cell import AbstractCell
from .._core.errors import bad_input
from .._core.problem import State
from .._wrappers.recurrent_weights import with_gain
from ..dynamics._lyapunov import lyapunov_exponents
from ._gaussian import WEIGHTS, normal_nodes
from ._mean_field import at_rest
from ._random_cells import ensemble_of, theory_of

GAINS = [2.0**k for k in range(-10, 11)]  # the search for a gain begins with these
HALVINGS = 20  # of the interval between two gains, in its logarithm


def critical(
    cell: AbstractCell, *, lag: int | None = None, input_power: float = 0.0
) -> AbstractCell:
    """A copy of the cell at the edge of chaos, by its mean-field theory: all of its recurrent
    weights are multiplied by one gain, the smallest with

        max(√χ, radius) = 1        as of `seqmem.gradients.mean_field`

    For an RNN this is χ = 1. For an LSTM or a GRU χ = 1 would be the edge of a network with new
    weights at every step; with the same ones, perturbations come back in phase, and the radius is 1
    at a smaller gain. With a lag, the bias of the gate that keeps the memory (forget of an LSTM,
    update of a GRU) is set first, the same for all units, to

        E[ln f] = −1/lag        f the gate, driven by inputs of the given power

    so that without recurrent weights the memory is 1/e after that many steps. Without a lag the
    biases remain.

    The theory is for many units: with N of them the typical gradient decays by the order of 1/N per
    step more, so a narrow RNN should get its gain from data, by
    `seqmem.gradients.with_unit_growth`.

    Source: as `mean_field`. Differs: the papers choose χ = 1 for all cells; the gate's bias is a
    rule of this library.

    Args:
        cell: an `RNN`, `LSTM` or `GRU`.
        lag: steps that an LSTM or a GRU should remember, > 1; None leaves its biases.
        input_power: the mean square of one feature of the inputs.

    Raises:
        ValueError: for another cell, a lag for an RNN or of at most 1, a power below 0, or where no
            gain between 2⁻¹⁰ and 2¹⁰ is critical.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.GRU(3, 50, key=jax.random.key(0))
        >>> cell = seqmem.gradients.critical(cell, lag=200, input_power=1.0)
        >>> round(seqmem.gradients.mean_field(cell, input_power=1.0).radius, 4)
        1.0
    """
    theory = theory_of("critical", cell)
    ensemble = ensemble_of("critical", cell, input_power)
    if lag is not None:
        gate = _memory_gate(cell, lag)
        index = cell.gates.index(gate)
        quiet = ensemble.other_variance[index] - float(jnp.var(cell.b[index]))  # pyright: ignore
        cell = with_gate(cell, gate, b=_bias_for(lag, max(quiet, 0.0)))
        ensemble = ensemble_of("critical", cell, input_power)

    def growth(gain: float) -> float:
        result = at_rest(theory, ensemble.scaled(gain))
        factor = max(result.chi**0.5, result.radius)
        return math.log(factor) if factor > 0 else -math.inf

    return with_gain(cell, _gain_of_zero("critical", growth))


@makes_layer
def with_unit_growth(
    cell: AbstractCell, state: State | None, xs: PyTree, *, key: PRNGKeyArray
) -> AbstractCell:
    """A copy of the cell with its recurrent weights multiplied by one gain, at which perturbations
    of the state neither grow nor decay along a run over the given inputs: a data-driven
    initialisation for any cell with recurrent weights.

        λ₁(g) = 0        g the smallest such gain, λ₁ the mean over the batch

    λ₁ is the largest conditional exponent of `seqmem.dynamics.lyapunov_exponents`, so gradients
    over a long time keep their norm on these inputs, and the gain takes account of the same
    weights at every step, of finite sizes and of structures that no theory knows. About 40 runs.
    Where the gates of the cell let perturbations of the memory decay fast, the gain is large;
    open the gates first (`seqmem.with_chrono_bias`).

    Source: the idea of Mishkin & Matas 2016, arXiv:1511.06422 (LSUV), which scale each layer to a
    variance of its outputs of 1 on data; here it is the growth per step.

    Args:
        cell: a cell with recurrent weights and a state of real numbers.
        state: the state before the first step; None is `cell.init_state()`.
        xs: inputs like those of training, [time, *batch, ...]; a hundred steps or more.
        key: random key for the first perturbation.

    Raises:
        ValueError: where `with_gain` or `lyapunov_exponents` raises one, or where no gain between
            2⁻¹⁰ and 2¹⁰ has this growth.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.RNN(3, 50, key=jax.random.key(0))
        >>> xs = 0.5 * jax.random.normal(jax.random.key(1), (100, 3))
        >>> cell = seqmem.gradients.with_unit_growth(cell, None, xs, key=jax.random.key(2))
        >>> result = seqmem.dynamics.lyapunov_exponents(
        ...     cell, None, xs, k=1, key=jax.random.key(2)
        ... )
        >>> abs(float(result.exponents[0])) < 1e-4
        True
    """

    def growth(gain: float) -> float:
        scaled = with_gain(cell, gain)
        return float(lyapunov_exponents(scaled, state, xs, k=1, key=key).exponents.mean())

    return with_gain(cell, _gain_of_zero("with_unit_growth", growth))


def _gain_of_zero(owner: str, growth: Callable[[float], float]) -> float:
    """The smallest gain at which the growth reaches 0, by bisection.

    Raises:
        ValueError: where it has one sign at all gains, or is not finite.
    """
    low, rate = GAINS[0], growth(GAINS[0])
    is_below = rate < 0
    high = next((gain for gain in GAINS[1:] if is_below and not growth(gain) < 0), None)
    if high is None:
        raise bad_input(
            f"{owner} got a cell whose perturbations "
            + ("decay at every gain." if is_below else f"grow by {rate:.3g} per step at gain 0."),
            f"growth of 0 at a gain between {GAINS[0]:.4f} and {GAINS[-1]:.0f}.",
            "change the biases of its gates, or look at other inputs.",
        )
    low = high / 2
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if growth(middle) < 0 else (low, middle)
    return math.sqrt(low * high)


def _memory_gate(cell: AbstractCell, lag: int) -> str:
    """The name of the gate that multiplies the old memory.

    Raises:
        ValueError: for an RNN, or a lag of at most 1.
    """
    if isinstance(cell, RNN):
        raise bad_input(
            f"critical got lag={lag!r} for an {type(cell).__name__}.",
            "no lag: the cell has no gate that keeps a memory.",
            "leave it out.",
        )
    if not 1 < lag < math.inf:
        raise bad_input(
            f"critical got lag={lag!r}.",
            "steps to remember, more than 1.",
            "pass the longest dependency in the data, in steps.",
        )
    return "forget" if "forget" in cell.gates else "update"


def _bias_for(lag: int, variance: float) -> float:
    """b with E[ln σ(b + √variance z)] = −1/lag, by bisection."""
    low, high = -50.0, 100.0
    for _ in range(60):
        bias = (low + high) / 2
        mean_log = -(WEIGHTS @ _softplus(-normal_nodes(bias, variance)))
        low, high = (bias, high) if mean_log < -1 / lag else (low, bias)
    return (low + high) / 2


def _softplus(z):
    return np.logaddexp(0.0, z)
