"""Initial arrays of cells of continuous time, without a promise, or with an external memory; and of
the structures of a recurrent matrix.
"""

import math

import numpy as np
from scipy.special import log_expit

import seqmem
from tests.helpers.distributions import (
    FanIn,
    Normal,
    Orthogonal,
    Signs,
    Uniform,
    log_uniform,
)

from .gated import FORGET, RECURRENT, exponential, plane_angles
from .linear import softplus
from .sizes import HIDDEN, INPUT

SHARE = 0.75  # of units that excite, in `Dale`
SYNAPSES = {
    "w": Uniform(0.001, 1, softplus),
    "mu": Uniform(0.3, 0.8),
    "sigma": Uniform(3, 8),
    "erev": Signs(),
}
LEM = Uniform(-1 / math.sqrt(HIDDEN), 1 / math.sqrt(HIDDEN))
LEARNER = {
    **dict.fromkeys(("W_q", "W_k", "W_v"), FanIn()),
    "W_eta": Normal(0.02),
    **dict.fromkeys(("b_eta", "scale", "beta"), 0.0),
    "gamma": 1.0,
}
CONTROLLER = {f"controller.{name}": row for name, row in {**RECURRENT, "b": FORGET}.items()}
INTERFACE = {"W_read": FanIn(), "b_read": 0.0, "W_write": FanIn(), "b_write": 0.0}


def off_diagonal(W, cell):
    return W[~np.eye(len(W), dtype=bool)]


def log_alpha(b_alpha, cell):
    """ln α of α = σ(b)."""
    return log_expit(b_alpha)


def part_of_period(shift, cell):
    return shift / np.exp(np.asarray(cell.log_tau, float))


def rates(input_decay, cell):
    np.testing.assert_array_equal(input_decay[1], 0)  # β
    return input_decay[0]


def first_layer(V, cell):
    np.testing.assert_array_equal(V[1], 0)
    return V[0]


def of_unit_scale(A, cell):
    """A of `Dale`, divided by the standard deviations that balance its columns."""
    sizes = np.where(np.arange(HIDDEN) < SHARE * HIDDEN, 1 - SHARE, SHARE)
    return A / sizes * np.sqrt(HIDDEN * SHARE * (1 - SHARE))


OTHERS = {
    "CfC": {
        "W": Normal(1 / math.sqrt(INPUT + HIDDEN)),
        "U": Normal(1 / math.sqrt(INPUT + HIDDEN)),
        "b": 0.0,
        "V": FanIn(),
        "c": 0.0,
        "H": FanIn(),
        "d": 0.0,
    },
    "LTC": {
        "neurons.cm": Uniform(0.4, 0.6, softplus),
        "neurons.gleak": Uniform(0.001, 1, softplus),
        "neurons.vleak": Uniform(-0.2, 0.2),
        **{f"synapses.{name}": row for name, row in SYNAPSES.items()},
        **{f"sensory.{name}": row for name, row in SYNAPSES.items()},
        "input_map.w": 1.0,
        "input_map.b": 0.0,
        "output_map.w": 1.0,
        "output_map.b": 0.0,
    },
    "GRUD": {
        **RECURRENT,
        "V": FanIn(),
        "input_decay": Uniform(0, 1, rates),
        "D": Uniform(0, 1 / INPUT),
        "e": 0.0,
        "mean": 0.0,
    },
    "PhasedLSTM": {
        **RECURRENT,
        "b": FORGET,
        "log_tau": log_uniform(1, 1000, exponential),
        "shift": Uniform(0, 1, part_of_period),
        "ratio_on": 0.05,
        "leak": 0.001,
    },
    "ODELSTM": {
        **RECURRENT,
        "b": FORGET,
        "V": Normal(1 / math.sqrt(HIDDEN), first_layer),
        "e": 0.0,
    },
    "CTRNN": {**RECURRENT, "log_tau": math.log(5)},
    "PLRNN": {
        "A": Uniform(0, 0.5),
        "W.parameters": Normal(1 / (4 * math.sqrt(HIDDEN)), off_diagonal),
        "C": FanIn(),
        "h": 0.0,
    },
    "ALRNN": {"A": Uniform(0, 0.5), "W": FanIn(1 / 4), "C": FanIn(), "h": 0.0},
    "LEM": {"W": LEM, "U": LEM, "V": LEM, "b": LEM},
    "MGU": RECURRENT,
    "ResetBeforeGRU": RECURRENT,
    "MUT1": RECURRENT,
    "MUT2": RECURRENT,
    "MUT3": RECURRENT,
    "MultiplicativeLSTM": {**RECURRENT, "R": Orthogonal(), "b": FORGET},
    "MogrifierLSTM": {**RECURRENT, "Q": FanIn(), "R": FanIn(), "b": FORGET},
    "RHN": {"W": FanIn(), "R": Orthogonal(), "b": np.array([[0.0], [-2.0]])},
    "Titans": {
        **dict.fromkeys(("W_q", "W_k", "W_v", "W_alpha", "W_eta", "W_theta"), FanIn()),
        "b_alpha": Uniform(math.log(1e-3), math.log(1e-1), log_alpha),
        "b_eta": 0.0,
        "b_theta": math.log(0.1 / 0.9),
        "M_0.0": FanIn(),
        "M_0.1": FanIn(),
    },
    "TTTLinear": {**LEARNER, "model.W": Normal(0.02), "model.b": 0.0},
    "TTTMLP": {
        **LEARNER,
        "model.W_1": Normal(0.02),
        "model.b_1": 0.0,
        "model.W_2": Normal(0.02),
        "model.b_2": 0.0,
    },
    "NTM": {
        **CONTROLLER,
        **INTERFACE,
        "M_0": 1e-6,
        "r_0": Normal(0.01),
        "w_0": np.array([10.0, 0, 0, 0]),
    },
    "DNC": {**CONTROLLER, **INTERFACE},
}


# Structures of a recurrent matrix of HIDDEN units.

STRUCTURES = {
    "Dense": (seqmem.Dense(), {"": Orthogonal()}),
    "Sparse": (seqmem.Sparse(1 - np.eye(HIDDEN)), {"": Orthogonal()}),
    "Antisymmetric": (seqmem.Antisymmetric(), {"": FanIn()}),
    "SymmetricSkew": (seqmem.SymmetricSkew(), {"": FanIn()}),
    "Dale": (seqmem.Dale(SHARE), {"": Normal(1, of_unit_scale)}),
    "LowRank": (
        seqmem.LowRank(3, random_gain=0.5),
        {"M": Normal(1), "N": Normal(1), "chi": FanIn()},
    ),
    "Orthogonal": (seqmem.Orthogonal(), {"": Uniform(-math.pi, math.pi, plane_angles)}),
    "Schur": (
        seqmem.Schur(),
        {
            "A": Uniform(-math.pi, math.pi, plane_angles),
            "gamma": 1.0,
            "theta": Uniform(0, 2 * math.pi),
            "T": 0.0,
        },
    ),
}
