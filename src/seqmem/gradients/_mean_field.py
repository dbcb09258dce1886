"""The mean-field theory of random RNNs, LSTMs and GRUs: lengths of states, growth of gradients."""

import math
from typing import NamedTuple

from .._core.cell import AbstractCell
from ._random_cells import Ensemble, Theory, ensemble_of, theory_of

ROUNDS = 200  # of the length map at most


class MeanField(NamedTuple):
    """The result of `mean_field`.

    Attributes:
        q: the squared length of h per unit, E[h²], where the length map is at rest.
        chi: χ, the factor per step of the mean squared norm of a perturbation, and of a gradient,
            where the weights of every step are independent: 1 at the edge of chaos.
        radius: the spectral radius of ∂s_t/∂s_{t−1} with each gate at its mean, where the weights
            are the same at every step.
    """

    q: float
    chi: float
    radius: float


def mean_field(cell: AbstractCell, *, input_power: float = 0.0) -> MeanField:
    """What the mean-field theory of random networks says of a cell with weights like these.

    For N → ∞ the pre-activations of each gate are normal, with a variance v = σ² q + σ_b² + σ_x²
    from recurrent weights, biases and inputs, and q = E[h²] obeys a map of itself. σ² is N times
    the mean square of the recurrent weights of that gate, the biases have the mean and the variance
    of the cell's, and σ_x² = Σ_j W_ij² E[x_j²], the mean over units. For

        RNN     q ← E[φ(z)²],    χ = σ² E[φ′(z)²]
        GRU     q ← E[(1 − z)²] E[n²] + E[z²] q + 2 E[z (1 − z)] E[n] E[h]
                χ = E[z²] + σ_z² E[σ′(z)²] E[(h − n)²]
                    + E[(1 − z)²] E[tanh′(n)² (σ_n² r² + σ_r² m² σ′(r)²)]
                with m = U_n h + c, the part of the candidate that the reset gate multiplies
        LSTM    q ← E[o²] E[tanh(c)²], c from the stationary distribution of c ← f c + i g;
                χ is the largest eigenvalue of the map of (E[δh²], E[δc² | c]) that one step is

    The theory takes new weights and biases at every step (untied weights), so that the gates of
    different steps are independent. For an RNN this makes no difference; h of a GRU and c of an
    LSTM are sums over many steps, and with the same weights at every step a perturbation comes back
    through them in phase. Its growth per step is then near `radius` where that is above √χ:

        RNN σ E[φ′(z)],    GRU E[z] + σ_n E[1 − z] E[tanh′(n) r],
        LSTM E[f] + σ_g E[i] E[tanh′(g)] E[o] E[tanh′(c)]

    Weights of other distributions, such as orthogonal ones, have the same q and χ.

    Source: Chen, Pennington & Schoenholz 2018, arXiv:1806.05394 (RNN), and Gilboa et al. 2019,
    arXiv:1901.08987 (LSTM and GRU). The texts were not read beyond their introductions: the
    equations are derived from their assumptions, and tested against networks. `radius` is not
    theirs.

    Args:
        cell: an `RNN`, `LSTM` or `GRU`; its weights and biases count by their mean and variance.
        input_power: E[x_j²], the mean square of one feature of an input of mean 0, >= 0.

    Raises:
        ValueError: for another cell, a structured recurrent matrix, or a negative power.

    Example:
        >>> import jax, seqmem
        >>> cell = seqmem.RNN(1, 50, key=jax.random.key(0))  # orthogonal U, without bias
        >>> round(seqmem.gradients.mean_field(seqmem.with_gain(cell, 0.5)).chi, 6)
        0.25
    """
    return at_rest(theory_of("mean_field", cell), ensemble_of("mean_field", cell, input_power))


def at_rest(theory: Theory, ensemble: Ensemble) -> MeanField:
    """The length map at rest, from q = 1, with Steffensen's acceleration."""

    def next_length(q: float) -> float:
        return theory.next_length(ensemble.fields(q), q)

    q = 1.0
    for _ in range(ROUNDS):
        first = next_length(q)
        second = next_length(first)
        curvature = second - 2 * first + q
        jump = q - (first - q) ** 2 / curvature if curvature else second
        new = jump if math.isfinite(jump) and 0 <= jump <= 2 * max(q, second) else second
        is_close = abs(new - q) <= 1e-12 * (1 + q)
        q = new
        if is_close:
            break
    return MeanField(q, *theory.growth(ensemble.fields(q), q))
