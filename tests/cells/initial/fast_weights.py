"""Initial arrays of cells with a matrix per head, and of attention."""

import math

import numpy as np
from scipy.special import log_expit

from tests.helpers.distributions import FanIn, Uniform, log_uniform

from .gated import exponential
from .linear import softplus
from .sizes import HEADS, HIDDEN, KEY_SIZE, RANK

STEP = log_uniform(1e-3, 1e-1, softplus)  # as in Mamba
RATE = Uniform(1, 16, exponential)
QKV = dict.fromkeys(("W_q", "W_k", "W_v"), FanIn())
GATED_DELTA = {**QKV, "W_beta": FanIn(), "W_alpha": FanIn()}
LOW_RANK_DECAY = {"V_alpha": FanIn(), "W_alpha": FanIn(), "A_log": RATE}
SLOTS = {"layers.0.W_alpha": FanIn(), "layers.1.W_v": FanIn()}
ATTENTION = {
    **QKV,
    "W_o": FanIn(),
    **dict.fromkeys(("b_q", "b_k", "b_v", "b_o"), 0.0),
}


def log_of_forgotten(b_alpha, cell):
    """ln(1 − α) of α = σ(b)."""
    return log_expit(-b_alpha)


FAST_WEIGHTS = {
    "LinearAttention": QKV,
    "LightningAttention": QKV,
    "RetNet": QKV,
    "GLA": {**QKV, "V_a": FanIn(), "W_a": FanIn(), "b": 0.0},
    "HGRN2": dict.fromkeys(("W_f", "W_i", "W_o"), FanIn()),
    "SSD": {
        **dict.fromkeys(("W_v", "W_B", "W_C", "W_delta"), FanIn()),
        "b": STEP,
        "A_log": RATE,
        "D": 1.0,
    },
    "MLSTM": {
        "W": FanIn(),
        "b": 0.0,
        "w_i": FanIn(0.1),
        "w_f": FanIn(0.1),
        "b_i": 0.0,
        "b_f": np.linspace(3, 6, HEADS),
    },
    "DeltaRule": {**QKV, "W_beta": FanIn()},
    "DeltaProduct": {**QKV, "W_beta": FanIn()},
    "GatedDeltaRule": {**GATED_DELTA, "b": STEP, "A_log": RATE},
    "GatedDeltaRule2": {
        **QKV,
        **LOW_RANK_DECAY,
        "W_b": FanIn(),
        "W_w": FanIn(),
        "dt_bias": STEP,
    },
    "Comba": {**GATED_DELTA, "dt_bias": STEP, "A_log": RATE, "b_0": 1.0, "d": 0.02},
    "KDA": {**QKV, **LOW_RANK_DECAY, "W_beta": FanIn(), "b": STEP},
    "GatedOjaRule": {**QKV, **LOW_RANK_DECAY, "W_beta": FanIn(), "b": STEP},
    "MomentumDeltaRule": {
        **QKV,
        **dict.fromkeys(("W_alpha", "W_eta", "W_theta"), FanIn()),
        "b_alpha": Uniform(math.log(1e-3), math.log(1e-1), log_of_forgotten),
        "b_eta": 0.0,
        "b_theta": 0.0,
    },
    "RWKV6": {
        **dict.fromkeys(("W_r", "W_k", "W_v", "V_w"), FanIn()),
        "W_w": FanIn(0.1),
        "w_0": np.linspace(-6, -1, HEADS * KEY_SIZE),
        "u": 0.0,
    },
    "RWKV7": {
        **dict.fromkeys(("W_r", "W_k", "W_v", "V_w", "V_a"), FanIn()),
        "W_w": FanIn(0.1),
        "W_a": FanIn(0.1),
        "w_0": np.linspace(-6, 1, HIDDEN),
        "a_0": 0.0,
        "xi": 0.85,
        "alpha": 1.0,
        "rho": 0.0,
    },
    "MesaNet": {
        **QKV,
        "W_gamma": FanIn(),
        "b_gamma": 4.0,
        "W_beta": FanIn(),
        "b_beta": 0.0,
        "ridge": math.log(math.expm1(0.75)),  # Λ is ¼ + softplus, and 1
    },
    "GatedKalmaNet": {
        **QKV,
        **dict.fromkeys(("W_gamma", "W_beta", "W_alpha"), FanIn()),
        "b_gamma": STEP,
        "A_log": RATE,
        "b_beta": 0.0,
        "b_alpha": 0.0,
    },
    "GSA": {**SLOTS, "layers.0.W_q": FanIn(), "layers.0.W_k": FanIn()},
    "ABC": {
        "layers.0.W_c": FanIn(),
        "layers.1.W_q": FanIn(),
        "layers.1.W_k": FanIn(),
        "layers.2.W_v": FanIn(),
    },
    "Mamba3": {
        "layers.0.W_delta": FanIn(),
        "layers.0.b": STEP,
        "layers.0.W_theta": FanIn(),
        **dict.fromkeys(("layers.1.W_v", "layers.1.W_BC"), FanIn()),
        **dict.fromkeys(("layers.1.W_A", "layers.1.W_lambda"), FanIn()),
        "layers.1.scale": 1.0,
        "layers.1.bias": 1.0,
        "layers.1.up": 1 / RANK,
        "layers.2.D": 1.0,
        "layers.2.down": 1 / RANK,
    },
    "SlidingWindowAttention": ATTENTION,
    "CausalAttention": {**ATTENTION, "W_g": FanIn(), "b_g": 0.0, "n_q": 0.0, "n_k": 0.0},
}
