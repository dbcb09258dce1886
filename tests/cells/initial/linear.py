"""Initial arrays of cells whose state moves linearly, one unit or one oscillator at a time."""

import math

import numpy as np
from scipy.special import expit, logit

from tests.helpers.distributions import FanIn, Normal, Uniform, UniformFanIn, log_uniform

from .gated import exponential, radius_of_ring
from .sizes import HIDDEN, INPUT, OTHER_SIZES

WIDE = OTHER_SIZES["S5"]["input_size"]
STEP = log_uniform(1e-3, 1e-1, exponential)
GATES = {"W": FanIn(), "b": 0.0}
PHASES = Uniform(0, 2 * math.pi, exponential)
MAPS = {"B": UniformFanIn(), "C": UniformFanIn(), "D": Normal(1)}


def softplus(b, cell):
    return np.log1p(np.exp(b))


def hippo_eigenvalues(size):
    """Those of HiPPO-N with a frequency below 0, as (real parts, imaginary parts)."""
    root = np.sqrt(np.arange(size) + 0.5)
    below = -np.tril(np.outer(root, root), -1)
    eigenvalues = np.linalg.eigvals(below - below.T - np.eye(size) / 2)
    frequencies = np.sort(eigenvalues.imag)[: size // 2]
    return np.stack([np.full(size // 2, -0.5), frequencies])


def damped_squares(G, cell):
    """|λ|² = 1/(1 + Δ G)."""
    return 1 / (1 + expit(np.asarray(cell.delta, float)) * G)


def damped_phases(A, cell):
    """The angle of λ: the trace of a step is 2 |λ| cos φ = 1 + |λ|² (1 − Δ² A)."""
    square = damped_squares(np.asarray(cell.G, float), cell)
    trace = 1 + square * (1 - expit(np.asarray(cell.delta, float)) ** 2 * A)
    return np.arccos(np.clip(trace / (2 * np.sqrt(square)), -1, 1))


def decay_power(Lambda, cell):
    return expit(Lambda) ** 8


LINEAR = {
    "MinGRU": GATES,
    "MinLSTM": GATES,
    "GILR": GATES,
    "QRNN": GATES,
    "SRU": GATES,
    "HGRN": {
        **GATES,
        "Gamma": logit(0.5),
        "theta": 10000 ** (-2 * np.arange(HIDDEN) / HIDDEN),
        "V": FanIn(),
        "d": 0.0,
    },
    "RGLRU": {**GATES, "Lambda": Uniform(0.9, 0.999, decay_power)},
    "LRU": {
        "nu": Uniform(0, 0.99**2, radius_of_ring),
        "theta": PHASES,
        "gamma": lambda cell: np.log(1 - radius_of_ring(np.asarray(cell.nu, float), cell)) / 2,
        "B": FanIn(1 / math.sqrt(2)),
        "C": FanIn(),
        "D": Normal(1),
    },
    "RTU": {"nu": Uniform(0, 1, radius_of_ring), "theta": PHASES, "W": FanIn()},
    "S4D": {
        "A_log": math.log(0.5),
        "A_imag": math.pi * np.arange(4),
        "C": Normal(1 / math.sqrt(2)),
        "D": Normal(1),
        "log_delta": STEP,
    },
    "S5": {
        "Lambda": np.tile(hippo_eigenvalues(HIDDEN // 2), 4),
        "B": Normal(1 / math.sqrt(2 * WIDE)),  # parts of complex numbers
        "C": Normal(1 / math.sqrt(2 * HIDDEN)),
        "D": Normal(1),
        "log_delta": STEP,
    },
    "S6": {
        "V_delta": UniformFanIn(),
        "W_delta": UniformFanIn(),
        "W_B": UniformFanIn(),
        "W_C": UniformFanIn(),
        "b": log_uniform(1e-3, 1e-1, softplus),
        "A_log": np.log(np.arange(1, 5)),
        "D": 1.0,
    },
    "SHM": {
        "W": UniformFanIn(),
        "w": UniformFanIn(),
        "theta": Uniform(-math.sqrt(6 / (128 + HIDDEN)), math.sqrt(6 / (128 + HIDDEN))),
    },
    "LinOSSIM": {**MAPS, "A": Uniform(0, 1), "delta": Uniform(0, 1)},
    "LinOSSIMEX": {**MAPS, "A": Uniform(0, 1), "delta": Uniform(0, 1)},
    "DLinOSS": {
        **MAPS,
        "A": Uniform(0, math.pi, damped_phases),
        "G": Uniform(0.9**2, 1, damped_squares),
        "delta": Normal(1 / 2),
    },
    "CausalConv": {"W": Normal(1 / math.sqrt(3 * INPUT)), "b": 0.0},
    "DepthwiseConv": {"w": Normal(1 / math.sqrt(3)), "b": 0.0},
}
