"""Writes experts.npz: what the mixture of experts of Qwen3-Next in transformers computes.

    python tests/reference/make_experts.py

Made with transformers 5.24.0 and torch 2.13.0, on a CPU. Weights and inputs are drawn in float64
from the seed below; the program takes the softmax of the router in float32. The names of the
weights are those of the module; with them come outputs and the gradient of the inputs for the loss
Σ weight ∘ output.
"""

import pathlib

import numpy as np
import torch
from transformers import Qwen3NextConfig
from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextSparseMoeBlock

SEED, TIME, HIDDEN = 7, 13, 6


def run(normalised):
    config = Qwen3NextConfig(
        hidden_size=HIDDEN,
        num_attention_heads=3,
        num_experts=7,
        num_experts_per_tok=3,
        moe_intermediate_size=5,
        shared_expert_intermediate_size=4,
        norm_topk_prob=normalised,
        experts_implementation="eager",
    )
    block = Qwen3NextSparseMoeBlock(config)
    for parameter in block.parameters():
        parameter.data = torch.randn(parameter.shape, dtype=torch.float64)
    xs = torch.randn(1, TIME, HIDDEN, dtype=torch.float64, requires_grad=True)
    ys = block(xs)
    weight = torch.randn_like(ys)
    (weight * ys).sum().backward()
    found = {"xs": xs, "ys": ys, "weight": weight, "gradient of xs": xs.grad}
    found = {name: tensor[0] for name, tensor in found.items()} | dict(block.named_parameters())
    return {f"{normalised}: {name}": tensor.detach().numpy() for name, tensor in found.items()}


def main():
    torch.manual_seed(SEED)
    path = pathlib.Path(__file__).parent / "experts.npz"
    np.savez_compressed(path, **run(True), **run(False))


if __name__ == "__main__":
    main()
