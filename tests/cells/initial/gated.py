"""Initial arrays of cells with one recurrent product per step, spiking cells and images."""

import math

import numpy as np

from tests.helpers.distributions import FanIn, Normal, Orthogonal, Uniform

from .sizes import CHANNELS, HIDDEN, INPUT, WIDTH

FORGET = np.array([[0.0], [1.0], [0.0], [0.0]])  # the bias of the second gate
RECURRENT = {"W": FanIn(), "U": Orthogonal(), "b": 0.0}
DIAGONAL_MEMORY = {
    "W": FanIn(),
    "u": Normal(math.sqrt(4 / (5 * HIDDEN))),
    "b": np.stack([-np.linspace(0, 1, HIDDEN), np.zeros(HIDDEN), np.zeros(HIDDEN)]),
}
IMAGE = {
    "W": Normal(1 / math.sqrt(WIDTH**2 * 2 * CHANNELS)),
    "U": Orthogonal(has_places=True),
    "b": 0.0,
}
CO_RNN = Uniform(-1 / math.sqrt(INPUT + 2 * HIDDEN), 1 / math.sqrt(INPUT + 2 * HIDDEN))
UNICORNN_BOUND = math.sqrt(6 / (65 * INPUT))


def radius_of_ring(nu, cell):
    """|λ|² of λ = exp(−exp(ν) + i exp(θ))."""
    return np.exp(-2 * np.exp(nu))


def plane_angles(A, cell):
    """The angles of rotations of neighbouring units; nothing else may be there."""
    assert np.count_nonzero(A) == A.shape[-1] // 2
    return np.diagonal(A[..., ::2, 1::2], axis1=-2, axis2=-1)


def divided_by_own_scale(U, cell):
    return U / U.std()


def exponential(array, cell):
    return np.exp(array)


GATED = {
    "RNN": {**RECURRENT, "V": FanIn()},
    "LSTM": {**RECURRENT, "b": FORGET},
    "PeepholeLSTM": {**RECURRENT, "b": FORGET, "p": 0.0},
    "ProjectedLSTM": {**RECURRENT, "b": FORGET, "R": FanIn()},
    "GRU": {**RECURRENT, "c": 0.0},
    "ResetAfterMGU": {**RECURRENT, "c": 0.0},
    "ParaGRU": DIAGONAL_MEMORY,
    "ParaLSTM": {**DIAGONAL_MEMORY, "p": DIAGONAL_MEMORY["u"]},
    "AntisymmetricRNN": {"W": FanIn(), "U.parameters": FanIn(), "b": 0.0},
    "GatedAntisymmetricRNN": {"W": FanIn(), "U.parameters": FanIn(), "b": 0.0},
    "LipschitzRNN": {"W": FanIn(), "U.parameters": FanIn(), "b": 0.0},
    "ExpRNN": {
        "W": FanIn(),
        "U.parameters": Uniform(-math.pi, math.pi, plane_angles),
        "b": Uniform(-0.01, 0.01),
    },
    "NNRNN": {
        "W": FanIn(),
        "U.parameters.A": Uniform(-math.pi, math.pi, plane_angles),
        "U.parameters.gamma": 1.0,
        "U.parameters.theta": Uniform(0, 2 * math.pi),
        "U.parameters.T": 0.0,
        "b": Uniform(-0.01, 0.01),
    },
    "LeakyRNN": {**RECURRENT, "log_tau": math.log(5)},
    "IndRNN": {"W": FanIn(), "u": Uniform(0, 1), "b": 0.0},
    "JANET": {**RECURRENT, "b": FORGET[[1, 0]]},
    "MinimalRNN": {**RECURRENT, "V": Orthogonal(), "c": 0.0},
    "RAN": RECURRENT,
    "UGRNN": RECURRENT,
    "LiGRU": RECURRENT,
    "CFN": RECURRENT,
    "STAR": RECURRENT,
    "BRC": {"W": FanIn(), "u": 1.0, "b": 0.0},
    "NBRC": RECURRENT,
    "ATR": {**RECURRENT, "c": 0.0},
    "FastRNN": {**RECURRENT, "alpha": -3.0, "beta": 3.0},
    "FastGRNN": {**RECURRENT, "b": 1.0, "zeta": 1.0, "nu": -4.0},
    "SCRN": {"A": FanIn(), "R": Orthogonal(), "B": FanIn(), "P": FanIn()},
    "SLSTM": {**RECURRENT, "b": FORGET},
    "CoRNN": {"W": CO_RNN, "U": CO_RNN, "b": CO_RNN},
    "UnICORNN": {
        "W": Uniform(-UNICORNN_BOUND, UNICORNN_BOUND),
        "w": Uniform(0, 1),
        "b": 0.0,
        "c": Uniform(-0.1, 0.1),
    },
    "NonlinearRTU": {
        "nu": Uniform(0, 1, radius_of_ring),
        "theta": Uniform(0, 2 * math.pi, exponential),
        "W": FanIn(),
    },
    "EchoState": {
        "W": Uniform(-1, 1),
        "U": Normal(1, divided_by_own_scale),  # its spectral radius has a test of its own
        "b": Uniform(-0.5, 0.5),
    },
    "LIF": {**RECURRENT, "log_tau": math.log(10)},
    "AdaptiveLIF": {
        **RECURRENT,
        "log_tau": math.log(20),
        "log_tau_adaptation": math.log(200),
    },
    "SynapticLIF": {**RECURRENT, "log_tau": math.log(10), "log_tau_current": math.log(5)},
    "ConvLSTM": {**IMAGE, "b": FORGET},
    "ConvGRU": {**IMAGE, "c": 0.0},
}
