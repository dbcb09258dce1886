"""Writes blocks.npz beside it: what other people's blocks compute as a whole, in float64.

    python tests/reference/make_blocks.py FLA

with torch==2.13.0, einops==0.8.2 and transformers==5.24.0 on a CPU. FLA is a checkout of
github.com/fla-org/flash-linear-attention at commit bc3b101. Of it, single files are
loaded: its layers are run as they stand, on the references that stand beside its GPU kernels; what
has none is written out below. Where this code asks for float32, it gets float64.

Everything is drawn from the seed, the weights too, and rounded, so that the compressed file is
small. "GLA: inputs", "GLA: outputs" and "GLA: gradient of inputs" are arrays [batch, time, ...],
"GLA: o_proj.weight" is a parameter, and "GLA: gradient of o_proj.weight" is that of

    Σ weight · outputs
"""

import importlib.abc
import importlib.machinery
import pathlib
import sys
from unittest import mock

import numpy as np
import torch
from make import HERE, SEED
from make_fast_weights import load
from transformers import Mamba2Config, Qwen3NextConfig, xLSTMConfig
from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer
from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextGatedDeltaNet
from transformers.models.xlstm.modeling_xlstm import xLSTMLayer

TIME, BATCH = 19, 2
STOOD_IN = ("fla", "triton")


def qwen3_next():
    """Three heads of values for each of queries and keys."""
    config = Qwen3NextConfig(
        hidden_size=7,
        linear_num_key_heads=2,
        linear_num_value_heads=6,
        linear_key_head_dim=5,
        linear_value_head_dim=3,
    )
    return Qwen3NextGatedDeltaNet(config, layer_idx=0), lambda module, x: module(x)


def mamba2():
    config = Mamba2Config(
        hidden_size=3, expand=10, num_heads=6, head_dim=5, state_size=7, n_groups=2, chunk_size=8
    )
    return Mamba2Mixer(config, layer_idx=0), lambda module, x: module(x)


def xlstm():
    """In chunks of 16, and the rest step by step."""
    config = xLSTMConfig(
        hidden_size=10,
        num_heads=2,
        qk_dim_factor=0.6,
        v_dim_factor=1.4,
        chunk_size=16,
        autocast_kernel_dtype="float32",
    )
    return xLSTMLayer(config), lambda module, x: module(x)[0]


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Whatever else these files import, which wants a GPU's compiler."""

    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in STOOD_IN:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return mock.MagicMock()

    def exec_module(self, module):
        pass


def alone(file):
    """A single file as a module, with stand-ins for what it imports of fla and of Triton."""
    sys.meta_path.insert(0, StandIns())
    with mock.patch.object(torch, "compile"):
        module = load(file)
    del sys.meta_path[0]
    for name in [name for name in sys.modules if name.split(".")[0] in STOOD_IN]:
        del sys.modules[name]
    return module


def load_layer(fla, name):
    """A layer that has no cache, and sequences without padding."""
    module = alone(fla / "layers" / f"{name}.py")
    module.get_layer_cache = lambda *_: None
    module.unpad_hidden_states = lambda x, *_: (x, None, None)
    module.repad_hidden_states = lambda x, *_: x
    return module


class GatedNorm(torch.nn.Module):
    """FusedRMSNormGated, as its kernel has it."""

    def __init__(self, hidden_size, eps, elementwise_affine=True):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(hidden_size))
        self.eps = eps

    def forward(self, x, gate):
        normed = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * normed * torch.nn.functional.silu(gate)


def unit(x):
    """l2_norm, as its kernel has it."""
    return x * torch.rsqrt(x.pow(2).sum(-1, keepdim=True) + 1e-6)


class ShortConvolution(torch.nn.Conv1d):
    """The parameters of one."""

    def __init__(self, hidden_size, kernel_size, bias, activation):
        super().__init__(hidden_size, hidden_size, kernel_size, groups=hidden_size, bias=bias)
        self.activation, self.backend = activation, "torch"


def short_convolution(x, weight, bias, activation, backend):
    """causal_conv1d, as its kernel has it."""
    padded = torch.nn.functional.pad(x.mT, (weight.shape[-1] - 1, 0))
    y = torch.nn.functional.conv1d(padded, weight[:, None], bias, groups=len(weight))
    return torch.nn.functional.silu(y.mT), None


def gated_delta_net(fla):
    """With twice the strength, which its kernel gives to β."""
    module = load_layer(fla, "gated_deltanet")
    path = fla / "ops" / "gated_delta_rule" / "naive.py"
    naive = alone(path).naive_recurrent_gated_delta_rule

    def recurrent(q, k, v, g, beta, A_log, dt_bias, **_):
        g = -A_log.exp() * torch.nn.functional.softplus(g + dt_bias)
        return naive(unit(q), unit(k), v, 2 * beta.sigmoid(), g)

    vars(module).update(
        FusedRMSNormGated=GatedNorm,
        ShortConvolution=ShortConvolution,
        causal_conv1d=short_convolution,
        fused_recurrent_gated_delta_rule=recurrent,
    )
    layer = module.GatedDeltaNet(
        hidden_size=7, expand_v=2.5, head_dim=2, num_heads=3, allow_neg_eigval=True
    )
    return layer, lambda layer, x: layer(x)[0]


def gla(fla):
    module = load_layer(fla, "gla")
    naive = alone(fla / "ops" / "gla" / "naive.py").naive_recurrent_gla
    module.FusedRMSNormGated = GatedNorm
    module.fused_recurrent_gla = lambda q, k, v, gk, **_: naive(q, k, v, gk)
    layer = module.GatedLinearAttention(
        hidden_size=12, expand_k=0.5, expand_v=1.25, num_heads=3, gate_low_rank_dim=2
    )
    return layer, lambda layer, x: layer(x)[0]


def rwkv7(fla, place):
    module = load_layer(fla, "rwkv7")
    ops, modules = fla / "ops" / "rwkv7", fla / "modules"
    dplr = alone(fla / "ops" / "generalized_delta_rule" / "dplr" / "naive.py").dplr_recurrence
    shift = alone(modules / "token_shift.py").token_shift_ref

    def recurrent(r, w, k, v, kk, a, **_):
        scaled = r * r.shape[-1] ** 0.5  # what the reference divides by
        inputs = (scaled, k, v, -kk, kk * a, w)
        outputs, _ = dplr(*(leaf.transpose(1, 2) for leaf in inputs))
        return outputs.transpose(1, 2), None

    vars(module).update(
        LoRA=alone(fla / "layers" / "rwkv6.py").LoRA,
        GroupNorm=alone(modules / "layernorm.py").GroupNormRef,
        l2_norm=unit,
        token_shift=lambda x, *_, **__: (shift(x), None),
        fused_addcmul_rwkv7=alone(ops / "fused_addcmul.py").torch_addcmul_rwkv7,
        fused_k_rwkv7=alone(ops / "fused_k_update.py").k_update_ref,
        gate_output_correction=alone(ops / "gate_output_correction.py").gate_output_correction_ref,
        fused_mul_recurrent_rwkv7=recurrent,
    )
    layer = module.RWKV7Attention(
        hidden_size=6,
        head_dim=3,
        decay_low_rank_dim=2,
        gate_low_rank_dim=3,
        a_low_rank_dim=4,
        v_low_rank_dim=7,
        fuse_norm=True,
        layer_idx=place,
        num_hidden_layers=2,
    )
    if place:
        return layer, lambda layer, x, v_first: layer(x, v_first=v_first)[0]
    return layer, lambda layer, x: layer(x)[::3]


def compute(layer, run, inputs):
    """What a layer with drawn weights makes of drawn inputs of these sizes, by name."""
    rng = np.random.default_rng(SEED)

    def drawn(*shape):
        return torch.tensor(np.round(128 * rng.standard_normal(shape)) / 256)

    layer.double().eval()
    for parameter in layer.parameters():
        parameter.data = drawn(*parameter.shape)
    leaves = {own: drawn(BATCH, TIME, size) for own, size in inputs.items()}
    for leaf in leaves.values():
        leaf.requires_grad_()
    shown = run(layer, *leaves.values())
    shown = shown if isinstance(shown, tuple) else (shown,)
    outputs = dict(zip(("outputs", "values"), shown, strict=False))
    weights = {f"weight of {own}": drawn(*array.shape) for own, array in outputs.items()}
    sum((weights[f"weight of {own}"] * array).sum() for own, array in outputs.items()).backward()
    leaves |= dict(layer.named_parameters())
    found = leaves | outputs | weights
    found |= {f"gradient of {own}": leaf.grad for own, leaf in leaves.items()}
    assert all(array.dtype == torch.float64 for array in found.values())
    return {own: array.detach().numpy() for own, array in found.items()}


def main(checkout):
    torch.set_default_dtype(torch.float64)
    fla = pathlib.Path(checkout) / "fla"
    references = {
        "Qwen3-Next": (*qwen3_next(), {"inputs": 7}),
        "Mamba-2": (*mamba2(), {"inputs": 3}),
        "xLSTM": (*xlstm(), {"inputs": 10}),
        "Gated DeltaNet": (*gated_delta_net(fla), {"inputs": 7}),
        "GLA": (*gla(fla), {"inputs": 12}),
        "RWKV-7": (*rwkv7(fla, 0), {"inputs": 6}),
        "RWKV-7 above": (*rwkv7(fla, 1), {"inputs": 6, "first values": 6}),
    }
    arrays = {}
    for name, reference in references.items():
        arrays |= {f"{name}: {own}": array for own, array in compute(*reference).items()}
    np.savez_compressed(HERE / "blocks.npz", **arrays)


if __name__ == "__main__":
    wide = {"float": torch.float64, "float32": torch.float64}
    with (
        mock.patch.multiple(torch, **wide),
        mock.patch.object(torch.Tensor, "float", torch.Tensor.double),
    ):
        main(*sys.argv[1:])
