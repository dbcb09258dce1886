"""Writes learning.npz in its own folder: what other people's memories that learn while they read
compute, in float64.

    python tests/reference/make_learning.py TTT

with torch==2.13.0, transformers==4.57.6 and titans-pytorch==0.5.5 on a CPU. TTT is a checkout of
github.com/test-time-training/ttt-lm-pytorch at commit cd831db. Where this code asks for float32, it
gets float64.

Only the memories are run: norms, gates and projections after them are left out. The derivative of
GELU in TTT, whose constants have eight digits, is replaced by that of torch. The memory of
titans-pytorch is run as the paper has it: chunks of one token within batches, keys and queries of
norm 1, the sum of squares as the loss, an MLP without norm and residual.

Everything is drawn from the seed, the weights too, and rounded, so that the compressed file is
small. "TTT-Linear: inputs", "TTT-Linear: outputs" and "TTT-Linear: gradient of inputs" are arrays
[batch, time, ...], "TTT-Linear: q_proj.weight" is a parameter, and "TTT-Linear: gradient of
q_proj.weight" is that of

    Σ weight · outputs
"""

import importlib
import sys
from unittest import mock

import numpy as np
import torch
from make import HERE, SEED
from titans_pytorch import NeuralMemory
from torch import nn

TIME, BATCH, HEADS, SIZE, STEPS = 8, 2, 2, 4, 3  # two mini-batches of three steps, and two steps
WIDTH = HEADS * SIZE


def slope_of_gelu(x):
    """The derivative of GELU in its form with tanh, which can be differentiated again."""
    with torch.enable_grad():
        x = x if x.requires_grad else x.detach().requires_grad_()
        y = nn.functional.gelu(x, approximate="tanh")
        return torch.autograd.grad(y.sum(), x, create_graph=True)[0]


def ttt(checkout):
    """Both layers, without what follows the memory."""
    sys.path.append(checkout)
    program = importlib.import_module("ttt")
    program.gelu_bwd = slope_of_gelu

    def make(layer, base_lr):
        config = program.TTTConfig(
            hidden_size=WIDTH,
            num_attention_heads=HEADS,
            mini_batch_size=STEPS,
            ttt_base_lr=base_lr,
            use_gate=False,
            share_qk=False,
        )
        module = layer(config, layer_idx=0)
        module.post_norm, module.o_proj = nn.Identity(), nn.Identity()
        return module, lambda x: module(x, position_ids=torch.arange(TIME)[None])

    return {
        "TTT-Linear": lambda: make(program.TTTLinear, 1.0),
        "TTT-MLP": lambda: make(program.TTTMLP, 0.1),
    }


class Unit(nn.Module):
    """Every head divided by its norm."""

    def forward(self, x):
        heads = x.unflatten(-1, (HEADS, SIZE))
        return (heads / (heads.square().sum(-1, keepdim=True) + 1e-6).sqrt()).flatten(-2)


def titans():
    module = NeuralMemory(
        WIDTH,
        chunk_size=1,
        batch_size=STEPS,
        dim_head=SIZE,
        heads=HEADS,
        pre_rmsnorm=False,
        mem_model_norm_add_residual=False,
        store_memory_loss_fn=lambda found, wanted: (found - wanted).square().sum(-1),
        default_model_kwargs={"depth": 2, "expansion_factor": 1.5},
    )
    module.combine_heads, module.retrieve_gate = nn.Identity(), None
    module.to_queries = nn.Sequential(module.to_queries, nn.SiLU(), Unit())
    module.to_keys = nn.Sequential(module.to_keys, nn.SiLU(), Unit())
    module.to_values = nn.Sequential(module.to_values, nn.SiLU())
    return module, lambda x: module(x)[0]


def compute(make):
    """The arrays of one memory."""
    rng = np.random.default_rng(SEED)

    def normal(*shape):
        return torch.tensor(np.round(256 * rng.standard_normal(shape)) / 256)

    module, run = make()
    for parameter in module.parameters():
        parameter.data = normal(*parameter.shape) / 2
    x = normal(BATCH, TIME, WIDTH).requires_grad_()
    outputs = run(x)
    weight = normal(*outputs.shape)
    (weight * outputs).sum().backward()
    found = {"inputs": x, "outputs": outputs, "weight": weight, "gradient of inputs": x.grad}
    for name, parameter in module.named_parameters():
        if parameter.grad is not None:  # of what is run
            found |= {name: parameter, f"gradient of {name}": parameter.grad}
    assert all(array.dtype == torch.float64 for array in found.values())
    return {name: array.detach().numpy() for name, array in found.items()}


def main(checkout):
    torch.set_default_dtype(torch.float64)
    arrays = {}
    for name, make in (ttt(checkout) | {"Titans": titans}).items():
        arrays |= {f"{name}: {own}": array for own, array in compute(make).items()}
    np.savez_compressed(HERE / "learning.npz", **arrays)


if __name__ == "__main__":
    with (
        mock.patch.multiple(torch, float32=torch.float64, float=torch.float64),
        mock.patch.object(torch.Tensor, "float", torch.Tensor.double),
    ):
        main(*sys.argv[1:])
