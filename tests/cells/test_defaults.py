"""What a cell, and what its parts, are made with where an argument is left out."""

import inspect
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import seqmem
from seqmem import spikes

KEY = jax.random.key(0)
ONE_FORGET_GATE = {"forget_bias": 1.0}
TAU = {"tau": 10.0, "learns_tau": True, "is_recurrent": False}
SURROGATE = {"surrogate": spikes.FastSigmoid(25.0), "reset": spikes.SubtractThreshold()}
UNBIASED = {"bias": False, "output_bias": False, "positions": seqmem.RoPE()}
NO_REFLECTION = {"beta_max": 1.0}
UNITS_IN_TIME = {"time_constants": 5.0, "dt": 1.0}
LEARNER = {"mini_batch_size": 16, "positions": seqmem.RoPE()}
DEFAULTS = {
    "RNN": {"activation": jnp.tanh},
    "GILR": {"activation": jnp.tanh},
    "IndRNN": {"activation": jax.nn.relu},
    "RTU": {"activation": jax.nn.relu},
    "NonlinearRTU": {"activation": jax.nn.relu},
    **dict.fromkeys(("LSTM", "PeepholeLSTM", "ProjectedLSTM"), ONE_FORGET_GATE),
    "MultiplicativeLSTM": ONE_FORGET_GATE,
    "MogrifierLSTM": {"rounds": 5, "forget_bias": 1.0},
    "SLSTM": {"num_heads": 1, "forget_bias": 1.0},
    "JANET": {"beta": 1.0, "forget_bias": 1.0},
    "RHN": {"transform_bias": -2.0},
    "SCRN": {"alpha": 0.95},
    "AntisymmetricRNN": {"step_size": 0.1, "damping": 0.01},
    "GatedAntisymmetricRNN": {"step_size": 0.1, "damping": 0.01},
    "LipschitzRNN": {"step_size": 0.01, "skew": 0.8, "damping": 0.01},
    "LeakyRNN": {**UNITS_IN_TIME, "activation": jax.nn.relu},
    "CTRNN": {**UNITS_IN_TIME, "activation": jnp.tanh},
    "ALRNN": {"num_rectified": 2},
    "CoRNN": {"dt": 0.042, "gamma": 2.7, "epsilon": 4.7},
    "UnICORNN": {"dt": 0.19, "alpha": 30.65},
    "LEM": {"dt": 1.0},
    "EchoState": {
        **{"spectral_radius": 0.9, "sparsity": 0.0, "leak": 1.0, "activation": jnp.tanh},
        **{"input_scale": 1.0, "bias_scale": 0.0},
    },
    "LIF": {**TAU, **SURROGATE},
    "SynapticLIF": {**TAU, **SURROGATE, "tau_current": 5.0},
    "AdaptiveLIF": {
        **{"is_recurrent": True, "beta": 0.1, "tau": 20.0, "tau_adaptation": 200.0},
        **{"learns_tau": True, "surrogate": spikes.Triangular(0.3)},
        "reset": spikes.SubtractThreshold(),
    },
    "ConvLSTM": {"width": 3, "forget_bias": 1.0},
    "ConvGRU": {"width": 3},
    "LRU": {"r_min": 0.0, "r_max": 0.99, "max_phase": 2 * math.pi},
    "DLinOSS": {"r_min": 0.9, "r_max": 1.0, "max_phase": math.pi},
    "HGRN": {"lower_bound": 0.5},
    "S5": {"blocks": 1},
    "CfC": {"backbone_size": 128, "num_layers": 1},
    "LTC": {"num_steps": 6},
    "ODELSTM": {"num_steps": 3},
    "PhasedLSTM": {"period_min": 1.0, "period_max": 1000.0, "ratio_on": 0.05, "leak": 0.001},
    "CausalConv": {"dilation": 1},
    "DepthwiseConv": {"bias": True},
    "SlidingWindowAttention": UNBIASED,
    "CausalAttention": {**UNBIASED, "norm_qk": False, "gated": False, "eps": 1e-6},
    "GLA": {"rank": 16},
    "RWKV6": {"rank": 16},
    "RWKV7": {"rank": 16},
    "HGRN2": {"lower_bound": 0.0},
    "SSD": {"num_groups": 1},
    "LightningAttention": {"layer": 0, "num_layers": 1},
    **dict.fromkeys(("DeltaRule", "GatedDeltaRule", "GatedDeltaRule2", "KDA"), NO_REFLECTION),
    "DeltaProduct": {"num_writes": 2, "beta_max": 2.0},
    "MesaNet": {"solver": seqmem.ConjugateGradients(30)},
    "GatedKalmaNet": {"ridge": 0.02, "solver": seqmem.Chebyshev(30)},
    "GSA": {"num_slots": 64},
    "ABC": {"num_slots": 64},
    "Mamba3": {"num_groups": 1, "rank": 1, "eps": 1e-5},
    "Titans": {"num_layers": 2, "mini_batch_size": 16},
    "TTTLinear": {**LEARNER, "base_lr": 1.0},
    "TTTMLP": {**LEARNER, "base_lr": 0.1},
    "NTM": {"num_read_heads": 1, "num_write_heads": 1, "max_shift": 1},
    "DNC": {"num_read_heads": 1},
    "Antisymmetric": {"damping": 0.0},
    "SymmetricSkew": {"skew": 0.8, "damping": 0.01},
    "Dale": {"excitatory": 0.8},
    "LowRank": {"random_gain": 0.0},
    "RoPE": {"base": 10000.0},
    "Llama3Scaling": {"factor": 8.0, "original_length": 8192, "low": 1.0, "high": 4.0},
    "YaRNScaling": {"fast": 32.0, "slow": 1.0},
    "Chebyshev": {"steps": 30},
    "ConjugateGradients": {"steps": 30},
    "ArcTan": {"alpha": 2.0},
    "FastSigmoid": {"slope": 25.0},
    "Triangular": {"height": 0.3},
    "SubtractThreshold": {"has_gradient": False},
    "ToZero": {"has_gradient": False},
}


def test_arguments_that_are_left_out_have_the_values_of_the_table():
    for name, expected in DEFAULTS.items():
        parameters = inspect.signature(
            getattr(seqmem, name, None) or getattr(spikes, name)
        ).parameters
        defaults = {argument: parameters[argument].default for argument in expected}
        assert defaults == expected, name


HEADS, SIZE = 3, 8  # of one head
SIZES_LEFT_OUT = [
    (seqmem.GLA, {"W_q": (HEADS * SIZE // 2, 5)}),
    *((cell, {"W_q": (HEADS * SIZE, 5)}) for cell in (seqmem.DeltaRule, seqmem.KDA)),
    *((cell, {"W_k": (HEADS * SIZE, 5)}) for cell in (seqmem.RetNet, seqmem.LinearAttention)),
    (seqmem.SSD, {"W_B": (SIZE, 5)}),
    (seqmem.Titans, {"M_0": [(HEADS, 4 * SIZE, SIZE), (HEADS, SIZE, 4 * SIZE)]}),
    (seqmem.TTTMLP, {"model": [(HEADS, 4 * SIZE, SIZE), (HEADS, 4 * SIZE)]}),
]


@pytest.mark.parametrize(
    ("cell_type", "expected"), SIZES_LEFT_OUT, ids=lambda value: getattr(value, "__name__", "")
)
def test_size_that_is_left_out_follows_from_the_others(cell_type, expected):
    cell = eqx.filter_eval_shape(lambda: cell_type(5, HEADS * SIZE, num_heads=HEADS, key=KEY))
    for name, shapes in expected.items():
        got = [leaf.shape for leaf in jax.tree.leaves(getattr(cell, name))]
        assert got[: len(shapes)] == shapes if isinstance(shapes, list) else got == [shapes]
