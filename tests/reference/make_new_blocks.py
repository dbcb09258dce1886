"""Writes new_blocks.npz beside it: blocks of 2024 to 2026 by other people, in float64.

    python tests/reference/make_new_blocks.py FLA

with torch==2.13.0, einops==0.8.2 and transformers==5.24.0 on a CPU. FLA is a checkout of
github.com/fla-org/flash-linear-attention at commit bc3b101. What stands in the file, and how its
layers run without a GPU, is as make_blocks.py says.
"""

import pathlib
import sys
from unittest import mock

import numpy as np
import torch
from make import HERE
from make_blocks import ShortConvolution, alone, compute, load_layer, short_convolution, unit
from make_delta_rules import comba_as_in_its_kernels
from transformers import MiniMaxConfig
from transformers.models.minimax.modeling_minimax import MiniMaxLightningAttention


class GatedNorm(torch.nn.Module):
    """FusedRMSNormGated, as its kernel has it."""

    def __init__(self, hidden_size, eps, activation="swish"):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(hidden_size))
        gates = {"swish": torch.nn.functional.silu, "sigmoid": torch.sigmoid}
        self.eps, self.gate = eps, gates[activation]

    def forward(self, x, gate):
        normed = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * normed * self.gate(gate)


class Norm(torch.nn.RMSNorm):
    """RMSNorm, as its kernel has it."""

    def __init__(self, hidden_size, eps, dtype):
        super().__init__(hidden_size, eps)


class Convolution(ShortConvolution):
    """One that is called."""

    def forward(self, x, **_):
        return short_convolution(x, self.weight[:, 0], self.bias, self.activation, self.backend)


def load(fla, name):
    module = load_layer(fla, name)
    vars(module).update(FusedRMSNormGated=GatedNorm, ShortConvolution=Convolution)
    return module


def naive(fla, name, function):
    return getattr(alone(fla / "ops" / name / "naive.py"), function)


def gated_delta_net_2(fla):
    """Two heads of values for each of keys, with twice the strength of the erase gate."""
    module = load(fla, "gdn2")
    recurrent = naive(fla, "gdn2", "naive_recurrent_gdn2")
    module.fused_recurrent_gdn2 = lambda q, k, v, g, b, w, **_: recurrent(
        unit(q), unit(k), v, g, b, w
    )
    layer = module.GatedDeltaNet2(
        hidden_size=7, expand_v=2.5, head_dim=2, num_heads=3, num_v_heads=6, allow_neg_eigval=True
    )
    return layer, lambda layer, x: layer(x)[0]


def comba(fla):
    module = load(fla, "comba")

    def recurrent(q, k, v, p, g, beta, **_):
        options = {"initial_state": None, "output_final_state": False}
        return comba_as_in_its_kernels(unit(q), unit(k), v, unit(p), beta, g, **options)

    module.fused_recurrent_comba = recurrent
    layer = module.Comba(hidden_size=7, expand_v=2.5, head_dim=2, num_heads=3)
    return layer, lambda layer, x: layer(x)[0]


def rwkv6(fla):
    module = load_layer(fla, "rwkv6")
    recurrent = alone(fla / "ops" / "rwkv6" / "recurrent_naive.py").naive_recurrent_rwkv6

    def of_heads_last(r, k, v, w, u, scale, **_):
        outputs, _ = recurrent(*(leaf.transpose(1, 2) for leaf in (r, k, v, w)), u, scale)
        return outputs.transpose(1, 2), None

    shift = alone(fla / "modules" / "token_shift.py").token_shift_ref
    vars(module).update(
        ACT2FN={"swish": torch.nn.functional.silu},
        GroupNorm=alone(fla / "modules" / "layernorm.py").GroupNormRef,
        token_shift=lambda x, *_: shift(x),
        fused_recurrent_rwkv6=of_heads_last,
    )
    layer = module.RWKV6Attention(
        hidden_size=12, expand_v=1.25, num_heads=3, proj_low_rank_dim=4, gate_low_rank_dim=7
    )
    return layer, lambda layer, x: layer(x)[0]


def preconditioned_gated_delta_net(fla):
    """With the norms of its kernel."""
    module = load(fla, "precond_gated_deltanet")
    name = "naive_recurrent_precond_gated_delta_rule"
    recurrent = naive(fla, "precond_gated_delta_rule", name)
    module.fused_recurrent_precond_gated_delta_rule = (
        lambda use_qk_l2norm_in_kernel, cu_seqlens, **inputs: recurrent(**inputs)
    )
    layer = module.PrecondGatedDeltaNet(
        hidden_size=7, expand_v=2.5, head_dim=2, num_heads=3, allow_neg_eigval=True
    )

    def run(layer, x):
        with mock.patch.object(torch.nn.functional, "normalize", lambda x, **_: unit(x)):
            return layer(x)[0]

    return layer, run


def preconditioned_kda(fla):
    module = load(fla, "precond_kda")
    recurrent = naive(fla, "precond_kda", "naive_recurrent_precond_kda")
    gate = alone(fla / "ops" / "kda" / "gate.py").naive_kda_gate

    def of_units(q, k, use_qk_l2norm_in_kernel, cu_seqlens, **inputs):
        return recurrent(unit(q), unit(k), **inputs)

    vars(module).update(
        fused_kda_gate=lambda g, A_log, dt_bias, lower_bound: gate(g, A_log, dt_bias),
        fused_recurrent_precond_kda=of_units,
    )
    layer = module.PrecondKDA(
        hidden_size=7, expand_v=2.5, head_dim=2, num_heads=3, allow_neg_eigval=True
    )
    return layer, lambda layer, x: layer(x)[0]


def delta_net(fla):
    """With half the values' size in a key, and the norm of its kernel."""
    module = load(fla, "delta_net")
    recurrence = naive(fla, "delta_rule", "delta_rule_recurrence")

    def of_heads_last(q, k, v, beta, **_):
        leaves = (leaf.transpose(1, 2) for leaf in (unit(q), unit(k), v, beta))
        outputs, _ = recurrence(*leaves)
        return outputs.transpose(1, 2), None

    vars(module).update(RMSNorm=Norm, fused_recurrent_delta_rule=of_heads_last)
    layer = module.DeltaNet(hidden_size=12, expand_k=0.5, num_heads=3, allow_neg_eigval=True)
    return layer, lambda layer, x: layer(x)[0]


def kda(fla):
    """With the gates of its kernel."""
    module = load(fla, "kda")
    recurrent = naive(fla, "kda", "naive_recurrent_kda")
    gate = alone(fla / "ops" / "kda" / "gate.py").naive_kda_gate

    def of_gates(q, k, v, g, beta, A_log, dt_bias, **_):
        return recurrent(unit(q), unit(k), v, gate(g, A_log, dt_bias), beta.sigmoid())

    module.fused_recurrent_kda = of_gates
    layer = module.KimiDeltaAttention(hidden_size=7, expand_v=2.5, head_dim=2, num_heads=3)
    return layer, lambda layer, x: layer(x)[0]


def minimax():
    """In blocks of 8 steps."""
    config = MiniMaxConfig(
        hidden_size=7, num_attention_heads=3, head_dim=4, num_hidden_layers=5, block_size=8
    )
    layer = MiniMaxLightningAttention(config, layer_idx=1)
    return layer, lambda layer, x: layer(x, None, None)[0]


def main(checkout):
    torch.set_default_dtype(torch.float64)
    fla = pathlib.Path(checkout) / "fla"
    references = {
        "Gated DeltaNet-2": (*gated_delta_net_2(fla), {"inputs": 7}),
        "Comba": (*comba(fla), {"inputs": 7}),
        "RWKV-6": (*rwkv6(fla), {"inputs": 12}),
        "preconditioned Gated DeltaNet": (*preconditioned_gated_delta_net(fla), {"inputs": 7}),
        "preconditioned KDA": (*preconditioned_kda(fla), {"inputs": 7}),
        "DeltaNet": (*delta_net(fla), {"inputs": 12}),
        "KDA": (*kda(fla), {"inputs": 7}),
        "MiniMax": (*minimax(), {"inputs": 7}),
    }
    arrays = {}
    for name, reference in references.items():
        arrays |= {f"{name}: {own}": array for own, array in compute(*reference).items()}
    np.savez_compressed(HERE / "new_blocks.npz", **arrays)


if __name__ == "__main__":
    wide = {"float": torch.float64, "float32": torch.float64}
    with (
        mock.patch.multiple(torch, **wide),
        mock.patch.object(torch.Tensor, "float", torch.Tensor.double),
    ):
        main(*sys.argv[1:])
