"""Writes slots.npz beside it: what flash-linear-attention's slot attention and gated Oja rule
compute, in float64.

    python tests/reference/make_slots.py FLA

with torch==2.13.0, einops==0.8.2 and transformers==5.24.0 on a CPU. FLA is a checkout of
github.com/fla-org/flash-linear-attention at commit bc3b101, of which single files are loaded.

* "GSA": the layer `GatedSlotAttention` as it stands, on the naive recurrence beside its kernels.
* "ABC": the layer `ABCAttention` without rotary positions, output gate and norm, on the naive
  recurrence. Its weights of the slots are thirty times the others, so that some are clipped.
* "gated Oja rule": the recurrence of tests/ops/test_oja.py. Queries, keys, β and the state are
  those of fast_weights.npz.

Names are as in blocks.npz, of the Oja rule as in fast_weights.npz.
"""

import pathlib
import sys
from unittest import mock

import make_blocks
import make_fast_weights
import numpy as np
import torch
from make import HERE, SEED
from make_blocks import alone, load_layer
from make_fast_weights import BATCH, HEADS, TIME, VALUE


class RMSNorm(torch.nn.Module):
    """The parameters of one."""

    def __init__(self, hidden_size, elementwise_affine, eps, dtype):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(hidden_size))
        self.bias = None


def rms_norm_linear(x, norm_weight, norm_bias, linear_weight, linear_bias):
    """As its kernel has it, with its default ε."""
    normed = norm_weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)
    return torch.nn.functional.linear(normed, linear_weight, linear_bias)


def gsa(fla):
    module = load_layer(fla, "gsa")
    naive = alone(fla / "ops" / "gsa" / "naive.py").naive_recurrent_gsa
    vars(module).update(
        RMSNorm=RMSNorm,
        SwishFeatureMap=torch.nn.SiLU,
        rms_norm_linear=rms_norm_linear,
        fused_recurrent_gsa=lambda *, cu_seqlens, **arguments: naive(**arguments),
    )
    layer = module.GatedSlotAttention(hidden_size=12, expand_k=1.25, num_heads=3, num_slots=7)
    return layer, lambda layer, x: layer(x)[0]


def abc(fla):
    module = load_layer(fla, "abc")
    naive = alone(fla / "ops" / "abc" / "naive.py").naive_recurrent_abc

    def of_heads_first(q, k, v, s, **_):
        outputs, final = naive(*(leaf.transpose(1, 2) for leaf in (q, k, v, s)))
        return outputs.transpose(1, 2), final

    module.chunk_abc = of_heads_first
    layer = module.ABCAttention(
        hidden_size=12,
        expand_k=1.25,
        num_heads=3,
        num_slots=7,
        use_rope=False,
        use_output_gate=False,
        use_norm=False,
    )

    def run(layer, x):
        with torch.no_grad():
            layer.s_proj.weight.mul_(30)
        return layer(x)[0]

    return layer, run


def oja(tests):
    naive = alone(tests / "ops" / "test_oja.py").recurrent_oja_ref

    def run(query, key, value, beta, log_decays, begun):
        start = None if begun is None else begun[0]
        outputs, final = naive(
            query, key, value, beta, log_decays, initial_state=start, output_final_state=True
        )
        return outputs, [final]

    return run


def draw():
    """What enters the Oja rule: units as values, and decays of their channels."""
    rng = np.random.default_rng(SEED)
    drawn = rng.standard_normal((BATCH, TIME, HEADS, VALUE))
    log_decays = rng.uniform(-1, 0, drawn.shape)
    log_decays[1, 4, 0], log_decays[1, 11, 1] = -30, -np.inf
    arrays = {
        "unit value": drawn / np.linalg.norm(drawn, axis=-1, keepdims=True),
        "value log_decays": log_decays,
    }
    return {name: np.round(256 * array) / 256 for name, array in arrays.items()}


def main(checkout):
    torch.set_default_dtype(torch.float64)
    checkout = pathlib.Path(checkout)
    arrays = draw()
    found = make_fast_weights.compute(
        make_fast_weights.draw() | arrays,
        oja(checkout / "tests"),
        ("query", "key", "unit value", "beta", "value log_decays"),
        ("state",),
    )
    arrays |= {f"gated Oja rule: {name}": array for name, array in found.items()}
    for name, make in {"GSA": gsa, "ABC": abc}.items():
        found = make_blocks.compute(*make(checkout / "fla"), {"inputs": 12})
        arrays |= {f"{name}: {own}": array for own, array in found.items()}
    np.savez_compressed(HERE / "slots.npz", **arrays)


if __name__ == "__main__":
    wide = {"float": torch.float64, "float32": torch.float64}
    with (
        mock.patch.multiple(torch, **wide),
        mock.patch.object(torch.Tensor, "float", torch.Tensor.double),
    ):
        main(*sys.argv[1:])
